"""How the compact pack was made: the only part of the project that needs PyTorch."""
