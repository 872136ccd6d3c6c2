// Beats of one width become beats of another, all units in their order: a bus's become those of a row, and back.
//
// A beat may come with fewer units than it has room for, and the last beat of a row may leave with fewer. With Holds, a
// beat leaves only when a unit after it is there, too, or none will come (flush_i): what is said of the last beat then
// never changes while it is offered.
//
// Timing: a beat that is taken in one cycle is there from the next cycle on. Whether a beat is taken, and whether one is
// offered, depends on registers and flush_i alone. The slower side of the two never waits for the faster one.
module lutra_repack #(
  parameter int unsigned UnitBits = 8,      // of a unit
  parameter int unsigned InUnits = 4,       // room of a beat that comes
  parameter int unsigned OutUnits = 3,      // of a beat that leaves
  parameter int unsigned OutLastUnits = 1,  // of a row's last beat
  parameter int unsigned CountBits = 4,     // of a number of units
  parameter bit          Holds = 1'b0       // keep a beat until it is known whether it is the last
) (
  input  logic                         clk_i,        // clock
  input  logic                         rst_ni,       // synchronous reset, active low
  input  logic                         in_valid_i,   // a beat is offered
  output logic                         in_ready_o,   // it is taken
  input  logic [InUnits*UnitBits-1:0]  in_data_i,    // its units, the first in the lowest bits
  input  logic [CountBits-1:0]         in_count_i,   // how many of them count, from the first on
  output logic                         out_valid_o,  // a beat is offered
  input  logic                         out_ready_i,  // it is taken
  output logic [OutUnits*UnitBits-1:0] out_data_o,   // its units; those that are not there yet are 0
  input  logic                         out_last_i,   // it is a row's last beat
  input  logic                         flush_i,      // offer one even if not all of its units are there
  output logic [CountBits-1:0]         fill_o        // how many units are there
);

  localparam int unsigned Fewer = InUnits < OutUnits ? InUnits : OutUnits;
  localparam int unsigned Room = InUnits + OutUnits + Fewer - 1 + (Holds ? 1 : 0);

  if (UnitBits < 1 || InUnits < 1 || OutLastUnits < 1 || OutLastUnits > OutUnits || 2**CountBits <= Room) begin : gen_wrong
    $error("UnitBits, InUnits and OutLastUnits must be at least 1, OutLastUnits at most OutUnits, CountBits enough");
  end

  localparam int unsigned Positions = Room - InUnits + 1;
  localparam logic [CountBits-1:0] MostBefore = CountBits'(Positions - 1);

  // Units from fill_q on are 0, so that new ones can be joined to them.
  logic [Room*UnitBits-1:0] units_q, kept;
  logic [CountBits-1:0]     fill_q, wanted, left;
  logic                     put, take;

  assign wanted      = out_last_i ? CountBits'(OutLastUnits) : CountBits'(OutUnits);
  assign in_ready_o  = fill_q <= MostBefore;
  assign out_valid_o = (Holds ? fill_q > wanted : fill_q >= wanted) || flush_i;
  assign out_data_o  = units_q[OutUnits*UnitBits-1:0];
  assign fill_o      = fill_q;
  assign put         = in_valid_i && in_ready_o;
  assign take        = out_valid_o && out_ready_i;

  always_comb begin
    kept = units_q;
    left = fill_q;
    if (take) begin
      kept = out_last_i ? units_q >> (OutLastUnits*UnitBits) : units_q >> (OutUnits*UnitBits);
      left = fill_q < wanted ? '0 : fill_q - wanted;
    end
  end

  logic [InUnits*UnitBits-1:0] counted;
  for (genvar u = 0; u < InUnits; u++) begin : gen_counted
    assign counted[u*UnitBits +: UnitBits] = put && in_count_i > CountBits'(u) ? in_data_i[u*UnitBits +: UnitBits] : '0;
  end

  // Whatever position the new units begin at, those of all others are gated.
  logic [Positions-1:0] at;
  for (genvar p = 0; p < Positions; p++) begin : gen_at
    assign at[p] = left == CountBits'(p);
  end
  logic [Room*UnitBits-1:0] placed;
  for (genvar u = 0; u < Room; u++) begin : gen_placed
    always_comb begin
      placed[u*UnitBits +: UnitBits] = kept[u*UnitBits +: UnitBits];
      for (int unsigned p = 0; p < Positions; p++) begin
        if (p <= u && u < p + InUnits) begin
          placed[u*UnitBits +: UnitBits] = placed[u*UnitBits +: UnitBits] | ({UnitBits{at[p]}} & counted[(u-p)*UnitBits +: UnitBits]);
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      fill_q  <= '0;
      units_q <= '0;
    end else begin
      fill_q  <= put ? left + in_count_i : left;
      units_q <= placed;
    end
  end

endmodule
