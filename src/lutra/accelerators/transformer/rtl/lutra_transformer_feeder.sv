// Reads the operands of a product out of a memory, in the order in which the array takes them.
//
// For each of repeats_i passes it reads tiles_i tiles of inner_i operands. A tile begins tile_stride_i words behind the
// one before; inside it the address moves on by inner_stride_i with every operand, or, where a word holds Phases
// operands (phased_i), with every Phases-th. The memory's output register is the stage that a stalled stream waits in.
// A tile that is not there yet is waited for.
//
// Timing: the first read is in the cycle after start_i, its beat is offered in the next one; then one beat per cycle, but
// the first one of a tile is not read before go_i.
module lutra_transformer_feeder #(
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16,    // bits of a count
  parameter int unsigned Phases = 4         // operands per word of a phased memory, a power of two
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   start_i,         // begin; all that follows stays the same until the last beat is taken
  input  logic [CountBits-1:0]   repeats_i,       // passes, from 1
  input  logic [CountBits-1:0]   tiles_i,         // tiles of a pass, from 1
  input  logic [CountBits-1:0]   inner_i,         // operands of a tile, from 1
  input  logic [AddressBits-1:0] base_i,          // where the first tile begins
  input  logic [AddressBits-1:0] tile_stride_i,   // words from tile to tile
  input  logic [AddressBits-1:0] inner_stride_i,  // words from operand to operand, or word to word
  input  logic                   phased_i,        // a word holds Phases operands of a tile
  input  logic                   go_i,            // tile tile_o of a pass can be read
  output logic [CountBits-1:0]   tile_o,          // which one comes next, or is read
  output logic                   busy_o,          // beats are left
  output logic                   read_o,          // read a word
  output logic [AddressBits-1:0] address_o,       // which
  output logic [$clog2(Phases)+(Phases == 1 ? 1 : 0)-1:0] phase_o,  // which operand of the word that was read is meant
  output logic                   valid_o,         // the memory's output is a beat
  input  logic                   ready_i          // it is taken
);

  if (AddressBits < 1 || CountBits < 1 || Phases < 1 || (Phases & (Phases - 1)) != 0) begin : gen_wrong
    $error("AddressBits and CountBits must be at least 1, Phases a power of two");
  end

  localparam int unsigned PhaseBits = Phases > 1 ? $clog2(Phases) : 1;

  logic                   running_q, last_inner, last_tile, last_repeat, last_phase;
  logic [CountBits-1:0]   inner_q, tile_q, repeat_q;
  logic [AddressBits-1:0] address_q, tile_base_q, next_base;

  assign busy_o      = running_q || valid_o;
  assign read_o      = running_q && (!valid_o || ready_i) && (inner_q != '0 || go_i);
  assign tile_o      = tile_q;
  assign address_o   = address_q;
  assign last_inner  = inner_q == inner_i - 1'b1;
  assign last_tile   = tile_q == tiles_i - 1'b1;
  assign last_repeat = repeat_q == repeats_i - 1'b1;
  assign next_base   = last_tile ? base_i : tile_base_q + tile_stride_i;

  if (Phases > 1) begin : gen_phases
    assign last_phase = !phased_i || inner_q[PhaseBits-1:0] == '1;
    always_ff @(posedge clk_i) begin
      if (read_o) begin
        phase_o <= inner_q[PhaseBits-1:0];
      end
    end
  end else begin : gen_one_phase
    logic unused_phased;
    assign unused_phased = phased_i;
    assign last_phase = 1'b1;
    assign phase_o    = '0;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      valid_o   <= 1'b0;
    end else begin
      running_q <= start_i || (running_q && !(read_o && last_inner && last_tile && last_repeat));
      if (!valid_o || ready_i) begin
        valid_o <= read_o;
      end
    end
    if (start_i) begin
      inner_q     <= '0;
      tile_q      <= '0;
      repeat_q    <= '0;
      address_q   <= base_i;
      tile_base_q <= base_i;
    end else if (read_o) begin
      inner_q <= last_inner ? '0 : inner_q + 1'b1;
      if (last_inner) begin
        tile_q      <= last_tile ? '0 : tile_q + 1'b1;
        address_q   <= next_base;
        tile_base_q <= next_base;
        if (last_tile) begin
          repeat_q <= repeat_q + 1'b1;
        end
      end else if (last_phase) begin
        address_q <= address_q + inner_stride_i;
      end
    end
  end

endmodule
