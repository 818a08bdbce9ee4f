"""Says why a recovery goes as it does, what binds it and when it will be done."""
