"""Valid files, their damage, and the readers that are given them. Used by `campaign.py` and its test."""
