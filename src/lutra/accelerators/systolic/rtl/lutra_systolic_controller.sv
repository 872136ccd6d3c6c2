// Feeds the array tile by tile, takes the sums of the tile before out, and reads them for the output.
//
// A tile takes inner_i slots, but at least Size, so that the sums of one tile have left before those of the next. Its
// first slot restarts the sums, and this is when those of the tile before are taken out; without a next tile an empty
// slot does it. A tile waits for its operands, and for a free bank of results. Pipelined, products come a cycle later,
// and so do restart_o and take_o; tiles of Size slots would wait for their bank then, and get one slot more.
//
// Timing: without stalls tiles follow each other every max(inner_i, Size + Pipelined, Size * Groups) cycles. A tile's
// first output beat is asked for Size + 1 + 2 * Pipelined cycles after the slot that takes its sums out.
module lutra_systolic_controller #(
  parameter int unsigned Size = 8,       // rows and columns of the array, a power of two from 2
  parameter int unsigned RowBits = 3,    // log2(Size)
  parameter int unsigned Groups = 1,     // output beats per row of a tile, a power of two
  parameter int unsigned GroupBits = 1,  // bits of the counter of groups
  parameter int unsigned KBits = 8,      // bits of an operand's place in its bank
  parameter int unsigned InnerBits = 9,  // bits of inner_i
  parameter int unsigned TileBits = 8,   // bits of column_tiles_i
  parameter bit          Pipelined = 0   // the elements are pipelined
) (
  input  logic                 clk_i,           // clock
  input  logic                 rst_ni,          // synchronous reset, active low
  input  logic [InnerBits-1:0] inner_i,         // operands per row and tile, 1 to 2**KBits
  input  logic [TileBits-1:0]  column_tiles_i,  // tiles for which a bank of a is used, from 1
  input  logic                 a_full_i,        // the next rows of a are there
  input  logic                 b_full_i,        // the next columns of b are there
  output logic                 a_release_o,     // the rows of a have been used
  output logic                 b_release_o,     // the columns of b have been used
  output logic                 read_o,          // slot: feed operand k_o
  output logic                 restart_o,       // restart the sums: in the slot, or pipelined one cycle later
  output logic [KBits-1:0]     k_o,             // which operand
  output logic                 take_o,          // take a row of sums out of column 0
  output logic [RowBits:0]     place_o,         // which row, and above it the bank of results that takes it
  input  logic                 stored_i,        // the first row of the last column is being stored
  input  logic                 issue_i,         // an output beat can be asked for
  output logic                 issue_o,         // it is asked for
  output logic [RowBits:0]     read_place_o,    // its row, and above it the bank
  output logic [GroupBits-1:0] group_o          // its place in the row
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || RowBits != $clog2(Size) || Groups < 1 || (Groups & (Groups - 1)) != 0 ||
      GroupBits < 1 || 2**GroupBits < Groups || InnerBits <= KBits || TileBits < 1) begin : gen_wrong
    $error("Size and Groups must be powers of two for RowBits and GroupBits, InnerBits over KBits");
  end

  localparam logic [RowBits-1:0]   LastRow = RowBits'(Size - 1);
  localparam logic [GroupBits-1:0] LastGroup = GroupBits'(Groups - 1);
  localparam int unsigned SlotBits = InnerBits > RowBits ? InnerBits : RowBits + 1;
  localparam logic [SlotBits-1:0] Shortest = SlotBits'(Pipelined ? Size + 1 : Size);

  // Slots.
  logic [SlotBits-1:0] slot_q, slots, inner;
  logic [TileBits-1:0] tile_q;
  logic                first, restart, run, last, last_tile, pending_q, drain, drain_allowed;

  assign inner         = SlotBits'(inner_i);
  assign slots         = inner < Shortest ? Shortest : inner;
  assign first         = slot_q == '0;
  assign restart       = first && (!pending_q || drain_allowed);
  assign run           = !first || (restart && a_full_i && b_full_i);
  assign last          = run && slot_q == slots - 1'b1;
  assign last_tile     = tile_q == column_tiles_i - 1'b1;
  assign drain         = restart && pending_q;
  assign read_o        = run && slot_q < inner;
  assign k_o           = slot_q[KBits-1:0];
  assign b_release_o   = last;
  assign a_release_o   = last && last_tile;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      slot_q    <= '0;
      tile_q    <= '0;
      pending_q <= 1'b0;
    end else begin
      if (run) begin
        slot_q <= last ? '0 : slot_q + 1'b1;
      end
      if (last) begin
        tile_q <= last_tile ? '0 : tile_q + 1'b1;
      end
      pending_q <= last || (pending_q && !drain);
    end
  end

  // What goes with the products instead of the operands.
  logic drain_sums;

  if (Pipelined) begin : gen_pipelined
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        restart_o  <= 1'b0;
        drain_sums <= 1'b0;
      end else begin
        restart_o  <= restart;
        drain_sums <= drain;
      end
    end
  end else begin : gen_one_stage
    assign restart_o  = restart;
    assign drain_sums = drain;
  end

  // Taking sums out: Size cycles from the cycle after their restart on.
  logic               take_q, take_bank_q;
  logic [RowBits-1:0] take_row_q;

  assign take_o  = take_q;
  assign place_o = {take_bank_q, take_row_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q      <= 1'b0;
      take_bank_q <= 1'b1;
      take_row_q  <= '0;
    end else begin
      take_q      <= drain_sums || (take_q && take_row_q != LastRow);
      take_bank_q <= take_bank_q ^ drain_sums;
      take_row_q  <= take_q ? take_row_q + 1'b1 : '0;
    end
  end

  // Reading results. Rows are stored at least as fast as they are read, so that a bank's first row suffices to begin.
  logic [1:0]           used_q, stored_q;
  logic                 read_bank_q, finished;
  logic [RowBits-1:0]   read_row_q;
  logic [GroupBits-1:0] group_q;

  assign issue_o       = issue_i && stored_q != '0;
  assign finished      = issue_o && read_row_q == LastRow && group_q == LastGroup;
  assign drain_allowed = used_q != 2'd2 || finished;
  assign read_place_o  = {read_bank_q, read_row_q};
  assign group_o       = group_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      used_q      <= '0;
      stored_q    <= '0;
      read_bank_q <= 1'b0;
      read_row_q  <= '0;
      group_q     <= '0;
    end else begin
      used_q      <= used_q + 2'(drain) - 2'(finished);
      stored_q    <= stored_q + 2'(stored_i) - 2'(finished);
      read_bank_q <= read_bank_q ^ finished;
      if (issue_o) begin
        group_q <= group_q == LastGroup ? '0 : group_q + 1'b1;
        if (group_q == LastGroup) begin
          read_row_q <= read_row_q + 1'b1;
        end
      end
    end
  end

endmodule
