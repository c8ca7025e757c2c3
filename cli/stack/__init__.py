"""The embedded stack of `keystage up`: every server and process of Keystage on this machine, as children of one.

Nothing here is imported by the processes that it starts.
"""
