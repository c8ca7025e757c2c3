"""Ray runs in a short directory, behind a token, without the vault's keys."""

from cli.stack.layout import DataDirectory
from cli.stack.ray import make_ray_directory, ray_environment, read_ray_directory, remove_ray_directory


def test_the_directory_is_short_private_recorded_and_removed(layout: DataDirectory) -> None:
    directory = make_ray_directory(layout)
    assert len(str(directory)) <= 43
    assert directory.stat().st_mode & 0o077 == 0
    assert read_ray_directory(layout) == directory
    (directory / "session").mkdir()
    remove_ray_directory(layout)
    assert not directory.exists()
    assert read_ray_directory(layout) is None


def test_a_directory_that_an_earlier_start_left_is_removed(layout: DataDirectory) -> None:
    left = make_ray_directory(layout)
    make_ray_directory(layout)
    assert not left.exists()
    remove_ray_directory(layout)


def test_root_keys_are_taken_out_and_the_token_is_put_in() -> None:
    environment = ray_environment(
        {
            "KEYSTAGE_VAULT_KEYS": "k",
            "KEYSTAGE_KEK_FILE": "k",
            "KEYSTAGE_KEK_TRANSIT_TOKEN": "k",
            "KEYSTAGE_KEY_PEPPERS": "k",
            "KEYSTAGE_AUDIT_KEYS": "k",
            "KEYSTAGE_OPENAI_API_KEY": "k",
            "KEYSTAGE_ANTHROPIC_API_KEY": "k",
            "KEYSTAGE_GOOGLE_API_KEY": "k",
            "KEYSTAGE_SECRETS_DIR": "/run/secrets",
            "KEYSTAGE_SECRETS_TOKEN": "k",
            "KEYSTAGE_RAY_AUTH_TOKEN": "token",
            "PYTHONPATH": "/srv",
        }
    )
    assert environment["RAY_AUTH_TOKEN"] == "token"
    assert environment["PYTHONPATH"] == "/srv"
    assert "k" not in environment.values()
    assert "KEYSTAGE_SECRETS_DIR" not in environment
