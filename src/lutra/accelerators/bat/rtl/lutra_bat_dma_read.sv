// Reads a contiguous piece of external memory through an AXI4 port and passes it on as a stream.
//
// Bursts never cross a boundary of BurstBeats beats (4 kB), so the first one may be shorter. Up to Queued bursts are asked
// for ahead.
//
// Timing: the first address is offered in the cycle after start_i, then one per cycle. A beat passes through in the cycle
// in which it comes; done_o in that of the last one. start_i again at the earliest in the cycle after.
module lutra_bat_dma_read #(
  parameter int unsigned AddressBits = 32,  // of an address of a byte
  parameter int unsigned DataBits = 128,    // of a beat
  parameter int unsigned BurstBeats = 256,  // of the longest burst, at most 256 and 4 kB
  parameter int unsigned Queued = 4,        // bursts that were asked for and are not over
  parameter int unsigned BeatBits = 24      // of the number of beats
) (
  input  logic                   clk_i,      // clock
  input  logic                   rst_ni,     // synchronous reset, active low
  input  logic                   start_i,    // begin
  input  logic [AddressBits-1:0] address_i,  // with this byte, a multiple of the bytes of a beat
  input  logic [BeatBits-1:0]    beats_i,    // so many beats, from 1
  output logic                   done_o,     // the last beat is being taken
  output logic                   error_o,    // memory answered with an error, since reset
  output logic                   arvalid_o,  // AXI4, address of a burst
  input  logic                   arready_i,
  output logic [AddressBits-1:0] araddr_o,
  output logic [7:0]             arlen_o,
  output logic [2:0]             arsize_o,
  output logic [1:0]             arburst_o,
  input  logic                   rvalid_i,   // AXI4, a beat of a burst
  output logic                   rready_o,
  input  logic [DataBits-1:0]    rdata_i,
  input  logic [1:0]             rresp_i,
  input  logic                   rlast_i,
  output logic                   valid_o,    // a beat is offered
  input  logic                   ready_i,    // it is taken
  output logic [DataBits-1:0]    data_o      // the beat
);

  localparam int unsigned ByteBits = $clog2(DataBits / 8);
  localparam int unsigned BurstBits = $clog2(BurstBeats);
  localparam int unsigned QueueBits = $clog2(Queued + 1);

  if (BurstBeats > 256 || BurstBeats * DataBits > 8 * 4096 || BurstBeats != 2 ** BurstBits) begin : gen_wrong
    $error("BurstBeats must be a power of two of at most 256 beats and 4 kB");
  end

  logic [AddressBits-1:0] address_q;
  logic [BeatBits-1:0]    asked_q, coming_q;  // beats that are not yet asked for, that have not yet come
  logic [QueueBits-1:0]   queued_q;
  logic [BurstBits:0]     room, burst;
  logic                   ask, beat;

  // To the next boundary, or to the end.
  assign room      = (BurstBits + 1)'(BurstBeats) - {1'b0, address_q[ByteBits +: BurstBits]};
  assign burst     = asked_q < BeatBits'(room) ? asked_q[BurstBits:0] : room;
  assign arvalid_o = asked_q != '0 && queued_q != QueueBits'(Queued);
  assign araddr_o  = address_q;
  assign arlen_o   = 8'(burst - 1'b1);
  assign arsize_o  = 3'(ByteBits);
  assign arburst_o = 2'b01;
  assign ask       = arvalid_o && arready_i;

  assign valid_o   = rvalid_i;
  assign rready_o  = ready_i;
  assign data_o    = rdata_i;
  assign beat      = rvalid_i && ready_i;
  assign done_o    = beat && coming_q == BeatBits'(1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      asked_q  <= '0;
      coming_q <= '0;
      queued_q <= '0;
      error_o  <= 1'b0;
    end else begin
      asked_q  <= start_i ? beats_i : ask ? asked_q - BeatBits'(burst) : asked_q;
      coming_q <= start_i ? beats_i : coming_q - BeatBits'(beat);
      queued_q <= queued_q + QueueBits'(ask) - QueueBits'(beat && rlast_i);
      error_o  <= error_o || (beat && rresp_i != '0);
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      address_q <= address_i;
    end else if (ask) begin
      address_q <= address_q + (AddressBits'(burst) << ByteBits);
    end
  end

endmodule
