// Rows of elements from beats of one width into beats of another: two banks, of which one fills while the other leaves.
//
// Elements beyond the row in its last beat are ignored on the way in, and 0 on the way out.
//
// Timing: a row's first beat is offered from the cycle after its last one was taken, the others in the cycles that follow.
// A bank is free from the cycle after its row's last beat left.
module lutra_transformer_gearbox #(
  parameter int unsigned Bits = 8,       // of an element
  parameter int unsigned Elements = 16,  // of a row
  parameter int unsigned InLanes = 4,    // elements of a beat that comes
  parameter int unsigned OutLanes = 6    // elements of a beat that leaves
) (
  input  logic                     clk_i,    // clock
  input  logic                     rst_ni,   // synchronous reset, active low
  input  logic                     valid_i,  // a beat is offered
  output logic                     ready_o,  // it is taken
  input  logic [InLanes*Bits-1:0]  data_i,   // elements, the first in the lowest bits
  output logic                     valid_o,  // a beat is offered
  input  logic                     ready_i,  // it is taken
  output logic [OutLanes*Bits-1:0] data_o    // elements, the first in the lowest bits
);

  if (Bits < 1 || Elements < 1 || InLanes < 1 || OutLanes < 1) begin : gen_wrong
    $error("Bits, Elements, InLanes and OutLanes must be at least 1");
  end

  localparam int unsigned InBeats = (Elements + InLanes - 1) / InLanes;
  localparam int unsigned OutBeats = (Elements + OutLanes - 1) / OutLanes;
  localparam int unsigned InBits = InBeats > 1 ? $clog2(InBeats) : 1;
  localparam int unsigned OutBits = OutBeats > 1 ? $clog2(OutBeats) : 1;
  localparam int unsigned RowBits = Elements * Bits;
  localparam int unsigned BankBits = (2**OutBits) * OutLanes * Bits;  // a row among zeros

  logic [InBits-1:0]     in_beat_q;
  logic [OutBits-1:0]    out_beat_q;
  logic                  in_bank_q, out_bank_q, take, give, take_last, give_last;
  logic [1:0]            full_q, filled, freed;
  logic [2*BankBits-1:0] banks;

  assign ready_o   = !full_q[in_bank_q];
  assign valid_o   = full_q[out_bank_q];
  assign take      = valid_i && ready_o;
  assign give      = valid_o && ready_i;
  assign take_last = take && in_beat_q == InBits'(InBeats - 1);
  assign give_last = give && out_beat_q == OutBits'(OutBeats - 1);
  assign filled    = {take_last && in_bank_q, take_last && !in_bank_q};
  assign freed     = {give_last && out_bank_q, give_last && !out_bank_q};

  for (genvar b = 0; b < 2; b++) begin : gen_bank
    logic [RowBits-1:0] row_q;

    for (genvar i = 0; i < InBeats; i++) begin : gen_beat
      localparam int unsigned First = i * InLanes * Bits;
      localparam int unsigned Width = RowBits - First < InLanes * Bits ? RowBits - First : InLanes * Bits;

      always_ff @(posedge clk_i) begin
        if (take && in_bank_q == b[0] && in_beat_q == InBits'(i)) begin
          row_q[First +: Width] <= data_i[Width-1:0];
        end
      end
    end

    assign banks[b*BankBits +: BankBits] = BankBits'(row_q);
  end

  lutra_mux #(.AddressBits(OutBits+1), .Width(OutLanes*Bits)) u_mux (
    .address_i({out_bank_q, out_beat_q}), .words_i(banks), .word_o(data_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      in_beat_q  <= '0;
      out_beat_q <= '0;
      in_bank_q  <= 1'b0;
      out_bank_q <= 1'b0;
      full_q     <= '0;
    end else begin
      if (take) begin
        in_beat_q <= take_last ? '0 : in_beat_q + 1'b1;
      end
      if (give) begin
        out_beat_q <= give_last ? '0 : out_beat_q + 1'b1;
      end
      in_bank_q  <= in_bank_q ^ take_last;
      out_bank_q <= out_bank_q ^ give_last;
      full_q     <= (full_q & ~freed) | filled;
    end
  end

endmodule
