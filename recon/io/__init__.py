"""Files in, files out; nothing read here can run code."""
