"""The sending side: connections accepted, requests answered, bodies sent."""
