"""A very small gpt-oss that has something to say; see README.md."""
