"""What the surfaces share: everything that the API does, without the shape of any one API."""
