"""The vault: organizations' secrets, the keys that seal them, and who used what."""
