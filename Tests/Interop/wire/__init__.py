"""Raw HTTP connections for the checks beside this folder."""
