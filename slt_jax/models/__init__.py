"""Model families, one file each; every file defines ``problems()`` and is found by being here."""
