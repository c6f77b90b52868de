"""Images whose target is a class for each place: digits on textured canvases, and folders of images and masks."""
