"""Who may move how many bytes now. Pure; knows nothing of recoveries."""
