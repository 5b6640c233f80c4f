"""Writes a table to try `source.vectors` with: 20 columns in different units that follow from 3 hidden factors, and a label.

    python3 scripts/drawn_table.py machines.csv          # 5,000 rows; --rows N, --seed S

Needs nothing but Python.
"""

import argparse
import csv
import random

UNITS = ["bar", "K", "mm", "V", "rpm"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # The same columns whatever the seed of the rows.
    drawn = random.Random(0)
    columns = []
    for at in range(20):
        unit, scale = UNITS[at % len(UNITS)], 10 ** (at % 5 - 1)
        columns.append((f"{unit}_{at}", scale, scale * drawn.uniform(0, 10), [drawn.gauss(0, 1) for _ in range(3)]))
    drawn = random.Random(arguments.seed)
    with open(arguments.file, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["machine", *(name for name, *_ in columns), "label"])
        for row in range(arguments.rows):
            factors = [drawn.gauss(0, 1) for _ in range(3)]
            numbers = (
                offset + scale * (sum(w * x for w, x in zip(weights, factors)) + drawn.gauss(0, 0.05))
                for _, scale, offset, weights in columns
            )
            label = "worn" if factors[0] + factors[1] > 1 else "good"
            table.writerow([f"M{row % 97:02}", *(f"{number:.5g}" for number in numbers), label])


if __name__ == "__main__":
    main()
