"""The wire between everybody and Bombshell: messages made from proto/, and the client that speaks them."""
