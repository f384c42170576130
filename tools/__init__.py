"""Commands that build, execute, serve and check the book; not part of the package."""
