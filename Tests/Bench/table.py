"""The table: what is wanted, what was measured, and what with."""


class Table:
    def __init__(self):
        self.rows = []

    def at_least(self, aim, wanted, value, ours, peer, unit="x"):
        self.add(aim, f">= {wanted:g}{unit}", f"{value:.2f}{unit}", ours, peer, value >= wanted)

    def at_most(self, aim, wanted, value, ours, peer, unit="x"):
        self.add(aim, f"<= {wanted:g}{unit}", f"{value:.2f}{unit}", ours, peer, value <= wanted)

    def add(self, aim, wanted, measured, ours, peer, is_met):
        self.rows.append([aim, wanted, measured, ours, peer, "yes" if is_met else "NO"])

    @property
    def all_met(self):
        return all(row[-1] == "yes" for row in self.rows)

    def text(self):
        head = ["aim", "wanted", "measured", "ours", "against", "met"]
        lines = [head, ["---"] * len(head), *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        return "\n".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |"
            for line in lines
        )


def rate(value):
    return f"{value:,.0f}/s"


def micros(value):
    return f"{value:.1f} us"


def millis(value):
    return f"{value:.2f} ms"
