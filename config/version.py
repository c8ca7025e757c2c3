"""The version of this checkout or image. No wheel is published, so no package's metadata could say it."""

VERSION = "0.1.0"
