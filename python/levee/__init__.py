"""Levee for Python programs: `import levee.watch` takes part when `levee watch` guards this program."""
