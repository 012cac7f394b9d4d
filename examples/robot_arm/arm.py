"""The arm as the device knows it; put your driver here. Usage: arm.py --x MILLIMETRES"""

import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float, required=True)
x = parser.parse_args().x
Path("position.txt").write_text(f"{x:g} mm")  # in the device's base folder
print("done")
