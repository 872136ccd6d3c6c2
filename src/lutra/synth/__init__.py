"""What synthesis tools make of a design: the tools themselves, and netlists that they leave."""
