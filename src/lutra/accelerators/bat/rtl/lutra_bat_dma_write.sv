// Writes a stream into a contiguous piece of external memory through an AXI4 port.
//
// Bursts never cross a boundary of BurstBeats beats (4 kB), so the first one may be shorter. Addresses run ahead of the
// beats by up to Queued bursts; a beat is offered once the address of its burst was taken.
//
// Timing: the first address is offered in the cycle after start_i. A beat passes through in the cycle in which it comes.
// done_o in the cycle in which memory confirms the last burst; start_i again at the earliest in the cycle after.
module lutra_bat_dma_write #(
  parameter int unsigned AddressBits = 32,  // of an address of a byte
  parameter int unsigned DataBits = 128,    // of a beat
  parameter int unsigned BurstBeats = 256,  // of the longest burst, at most 256 and 4 kB
  parameter int unsigned Queued = 4,        // bursts whose address was taken and that are not confirmed
  parameter int unsigned BeatBits = 24      // of the number of beats
) (
  input  logic                   clk_i,      // clock
  input  logic                   rst_ni,     // synchronous reset, active low
  input  logic                   start_i,    // begin
  input  logic [AddressBits-1:0] address_i,  // with this byte, a multiple of the bytes of a beat
  input  logic [BeatBits-1:0]    beats_i,    // so many beats, from 1
  output logic                   done_o,     // the last burst is being confirmed
  output logic                   error_o,    // memory answered with an error, since reset
  output logic                   awvalid_o,  // AXI4, address of a burst
  input  logic                   awready_i,
  output logic [AddressBits-1:0] awaddr_o,
  output logic [7:0]             awlen_o,
  output logic [2:0]             awsize_o,
  output logic [1:0]             awburst_o,
  output logic                   wvalid_o,   // AXI4, a beat of a burst
  input  logic                   wready_i,
  output logic [DataBits-1:0]    wdata_o,
  output logic [DataBits/8-1:0]  wstrb_o,
  output logic                   wlast_o,
  input  logic                   bvalid_i,   // AXI4, a burst is confirmed
  output logic                   bready_o,
  input  logic [1:0]             bresp_i,
  input  logic                   valid_i,    // a beat is offered
  output logic                   ready_o,    // it is taken
  input  logic [DataBits-1:0]    data_i      // the beat
);

  localparam int unsigned ByteBits = $clog2(DataBits / 8);
  localparam int unsigned BurstBits = $clog2(BurstBeats);
  localparam int unsigned QueueBits = $clog2(Queued + 1);

  if (BurstBeats > 256 || BurstBeats * DataBits > 8 * 4096 || BurstBeats != 2 ** BurstBits) begin : gen_wrong
    $error("BurstBeats must be a power of two of at most 256 beats and 4 kB");
  end

  logic [AddressBits-1:0] address_q;
  logic [BeatBits-1:0]    asked_q, sent_q;           // beats without an address yet, beats not yet sent
  logic [QueueBits-1:0]   queued_q, open_q;          // bursts that are not confirmed, whose beats are not all sent
  logic [BurstBits-1:0]   place_q;                   // of the next beat between two boundaries
  logic [BurstBits:0]     room, burst;
  logic                   ask, beat, confirmed;

  assign room      = (BurstBits + 1)'(BurstBeats) - {1'b0, address_q[ByteBits +: BurstBits]};
  assign burst     = asked_q < BeatBits'(room) ? asked_q[BurstBits:0] : room;
  assign awvalid_o = asked_q != '0 && queued_q != QueueBits'(Queued);
  assign awaddr_o  = address_q;
  assign awlen_o   = 8'(burst - 1'b1);
  assign awsize_o  = 3'(ByteBits);
  assign awburst_o = 2'b01;
  assign ask       = awvalid_o && awready_i;

  assign wvalid_o  = valid_i && open_q != '0;
  assign ready_o   = wready_i && open_q != '0;
  assign wdata_o   = data_i;
  assign wstrb_o   = '1;
  assign wlast_o   = sent_q == BeatBits'(1) || (&place_q);
  assign beat      = wvalid_o && wready_i;

  assign bready_o  = 1'b1;
  assign confirmed = bvalid_i;
  assign done_o    = confirmed && queued_q == QueueBits'(1) && asked_q == '0 && sent_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      asked_q  <= '0;
      sent_q   <= '0;
      queued_q <= '0;
      open_q   <= '0;
      error_o  <= 1'b0;
    end else begin
      asked_q  <= start_i ? beats_i : ask ? asked_q - BeatBits'(burst) : asked_q;
      sent_q   <= start_i ? beats_i : sent_q - BeatBits'(beat);
      queued_q <= queued_q + QueueBits'(ask) - QueueBits'(confirmed);
      open_q   <= open_q + QueueBits'(ask) - QueueBits'(beat && wlast_o);
      error_o  <= error_o || (confirmed && bresp_i != '0);
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      address_q <= address_i;
      place_q   <= address_i[ByteBits +: BurstBits];
    end else begin
      if (ask) begin
        address_q <= address_q + (AddressBits'(burst) << ByteBits);
      end
      place_q <= place_q + BurstBits'(beat);
    end
  end

endmodule
