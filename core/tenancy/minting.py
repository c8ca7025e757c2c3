"""What one key may give to another: never more than it has itself. Pure."""

from core.errors import FieldProblem, PermissionDeniedError, ValidationFailedError
from core.tenancy.api_key import ApiKey, KeyGrant
from core.tenancy.user import User


def require_within(maker: ApiKey, asked: KeyGrant) -> None:
    """Raises PermissionDeniedError, naming the field, when `asked` holds more than its maker."""
    if field := maker.grant.excess_of(asked):
        raise PermissionDeniedError(f"A key cannot give more than it has itself: {field}.", field=field)


def require_within_role(user: User, asked: KeyGrant) -> None:
    """Raises ValidationFailedError when the user's role does not allow such a key."""
    highest = user.role.highest_permission
    if not highest.allows(asked.permission):
        message = f"a {user.role} may hold at most {highest!r}: give the user another role first"
        raise ValidationFailedError([FieldProblem(("permissions",), message)])


def require_within_plan(asked: KeyGrant, plan_requests_per_minute: int) -> None:
    """Raises ValidationFailedError when the key's own limit is above the organization's plan."""
    if (asked.requests_per_minute or 0) > plan_requests_per_minute:
        message = f"must not exceed the plan's {plan_requests_per_minute} requests a minute"
        raise ValidationFailedError([FieldProblem(("rate_limit_override",), message)])
