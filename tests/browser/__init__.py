"""The shop's pages in a real Chromium, on a whole deployment."""
