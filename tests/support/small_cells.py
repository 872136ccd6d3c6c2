"""A small library of standard cells in Liberty form, so that the flow to cells runs where no other one is at hand.

Its figures are made up: delay grows with load and shrinks with the size of a cell.
"""

from __future__ import annotations

GATES = {
    "INV": (1.0, "!A"),
    "BUF": (1.3, "A"),
    "NAND2": (1.4, "!(A & B)"),
    "NOR2": (1.4, "!(A | B)"),
    "NAND3": (1.9, "!(A & B & C)"),
    "NOR3": (1.9, "!(A | B | C)"),
    "AND2": (1.7, "A & B"),
    "OR2": (1.7, "A | B"),
    "XOR2": (2.5, "A ^ B"),
    "XNOR2": (2.5, "!(A ^ B)"),
    "AOI21": (1.8, "!((A & B) | C)"),
    "OAI21": (1.8, "!((A | B) & C)"),
    "MUX2": (2.6, "(C & B) | (!C & A)"),
}
"""Area in um2 of the smallest size, and function."""
SIZES = (1, 2, 4)
SLEWS_NS, LOADS_FF = (0.002, 0.2), (0.5, 60.0)


def small_library() -> str:
    """The library's text, in ns, fF, um2 and nW."""
    gates = [_gate(f"{name}_X{size}", *shape, size) for name, shape in GATES.items() for size in SIZES]
    return "\n".join([_HEAD, *gates, _FLIP_FLOP, _CLOCK_GATE, "}", ""])


def _gate(name: str, area: float, function: str, size: int) -> str:
    inputs = sorted({letter for letter in function if letter.isalpha()})
    pins = [f"    pin ({pin}) {{ direction : input; capacitance : {size}; }}" for pin in inputs]
    arcs = "".join(_arc(pin, size) for pin in inputs)
    return (
        f"  cell ({name}) {{ area : {area * (1 + size) / 2}; cell_leakage_power : {size};\n"
        + "\n".join(pins)
        + f'\n    pin (Y) {{ direction : output; function : "{function}"; max_capacitance : {60 * size};{arcs} }}\n  }}'
    )


def _arc(pin: str, size: int, kind: str = "combinational") -> str:
    tables = "".join(
        f" {name} (by_slew_and_load) {{ {_values(size)} }}"
        for name in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
    )
    return f'\n      timing () {{ related_pin : "{pin}"; timing_type : {kind};{tables} }}'


def _values(size: int) -> str:
    rows = [", ".join(f"{0.01 + slew / 10 + load / size / 500:.5f}" for load in LOADS_FF) for slew in SLEWS_NS]
    return f'values ("{rows[0]}", "{rows[1]}");'


_HEAD = f"""\
library (small_cells) {{
  delay_model : table_lookup; time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";
  capacitive_load_unit (1, ff); leakage_power_unit : "1nW"; pulling_resistance_unit : "1kohm";
  nom_voltage : 1.1; nom_temperature : 25; nom_process : 1; default_max_transition : 0.5;
  slew_lower_threshold_pct_rise : 30; slew_upper_threshold_pct_rise : 70;
  slew_lower_threshold_pct_fall : 30; slew_upper_threshold_pct_fall : 70;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  operating_conditions (typical) {{ process : 1; voltage : 1.1; temperature : 25; }}
  default_operating_conditions : typical;
  lu_table_template (by_slew_and_load) {{
    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("{SLEWS_NS[0]}, {SLEWS_NS[1]}"); index_2 ("{LOADS_FF[0]}, {LOADS_FF[1]}");
  }}"""
_FLIP_FLOP = f"""\
  cell (DFF_X1) {{ area : 4.5; cell_leakage_power : 3; ff (IQ, IQN) {{ clocked_on : "CK"; next_state : "D"; }}
    pin (D) {{ direction : input; capacitance : 1;
      timing () {{ related_pin : "CK"; timing_type : setup_rising;
        rise_constraint (scalar) {{ values ("0.04"); }} fall_constraint (scalar) {{ values ("0.04"); }} }} }}
    pin (CK) {{ direction : input; clock : true; capacitance : 1;
      internal_power () {{ rise_power (scalar) {{ values ("3"); }} fall_power (scalar) {{ values ("3"); }} }} }}
    pin (Q) {{ direction : output; function : "IQ"; max_capacitance : 60;{_arc("CK", 1, "rising_edge")} }}
  }}"""
_CLOCK_GATE = f"""\
  cell (CLKGATE_X1) {{ area : 4; cell_leakage_power : 3; clock_gating_integrated_cell : "latch_posedge";
    statetable ("CK E", "IQ") {{ table : "L L : - : L, L H : - : H, H - : - : N"; }}
    pin (IQ) {{ direction : internal; internal_node : "IQ"; }}
    pin (CK) {{ direction : input; clock : true; capacitance : 1; clock_gate_clock_pin : true; }}
    pin (E) {{ direction : input; capacitance : 1; clock_gate_enable_pin : true; }}
    pin (GCK) {{ direction : output; state_function : "CK & IQ"; clock_gate_out_pin : true;{_arc("CK", 1)} }}
  }}"""
