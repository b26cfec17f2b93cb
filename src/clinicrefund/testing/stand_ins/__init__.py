"""One stand-in for each platform, under the platform's own name."""
