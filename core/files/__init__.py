"""Files that customers send: what their bytes evidently are, and the text that they say. Pure."""
