"""What leaves the season for other programs and people: tables and clips (docs/exports.md)."""
