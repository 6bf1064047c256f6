"""A second implementation of the accord wire and evidence format, written from its document."""
