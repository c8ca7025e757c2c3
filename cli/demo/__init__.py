"""`keystage demo`: the main job on real files, end to end, on a private stack, told in plain words."""
