"""One verb a file: what the user asked for, in the order it happens."""
