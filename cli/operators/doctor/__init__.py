"""`keystage doctor`: holds a running installation against docs/hardening.md. It looks, and changes nothing."""
