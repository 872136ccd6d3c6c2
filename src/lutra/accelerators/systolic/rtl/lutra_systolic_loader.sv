// Fills the two banks of an edge buffer in turn from a stream, and tells when the bank to be read is full.
//
// Timing: a beat is stored in the cycle in which it is taken; full_o is 1 from the cycle after a bank's last beat until
// the cycle of release_i. The released bank may be filled again from the next cycle on.
module lutra_systolic_loader #(
  parameter int unsigned AddressBits = 9,  // bits of an operand's address; the highest bit is the bank
  parameter int unsigned InnerBits = 9     // bits of inner_i
) (
  input  logic                   clk_i,         // clock
  input  logic                   rst_ni,        // synchronous reset, active low
  input  logic [InnerBits-1:0]   inner_i,       // beats per bank, 1 to 2**(AddressBits-1)
  input  logic                   valid_i,       // a beat is offered
  output logic                   ready_o,       // it is taken if offered
  output logic                   write_o,       // store the beat
  output logic [AddressBits-1:0] address_o,     // where
  input  logic                   release_i,     // the bank to be read is not needed any more
  output logic                   full_o,        // it is full
  output logic                   read_bank_o    // which bank that is
);

  if (AddressBits < 2 || InnerBits < AddressBits) begin : gen_wrong
    $error("AddressBits must be at least 2, InnerBits at least AddressBits");
  end

  logic [AddressBits-2:0] beat_q;
  logic                   write_bank_q, read_bank_q, last;
  logic [1:0]             full_q, filled, freed;

  assign ready_o     = !full_q[write_bank_q];
  assign write_o     = valid_i && ready_o;
  assign address_o   = {write_bank_q, beat_q};
  assign last        = write_o && InnerBits'(beat_q) == inner_i - 1'b1;
  assign full_o      = full_q[read_bank_q];
  assign read_bank_o = read_bank_q;
  assign filled      = {last && write_bank_q, last && !write_bank_q};
  assign freed       = {release_i && read_bank_q, release_i && !read_bank_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_q       <= '0;
      write_bank_q <= 1'b0;
      read_bank_q  <= 1'b0;
      full_q       <= '0;
    end else begin
      if (write_o) begin
        beat_q <= last ? '0 : beat_q + 1'b1;
      end
      write_bank_q <= write_bank_q ^ last;
      read_bank_q  <= read_bank_q ^ release_i;
      full_q       <= (full_q | filled) & ~freed;
    end
  end

endmodule
