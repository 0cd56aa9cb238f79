"""Where in a window the network looks: heads, masks, and boxes in seconds and hertz."""
