// Buffer of whole rows between two units, which hand over InLanes and take OutLanes elements per beat.
//
// Two rows lie in it: one is filled while the other is read. A row comes as segments of beats, and leaves as segments;
// the halves of a linear layer are two segments on both sides, query, key and value come as one and leave as three.
// Elements lie in banks of Granule elements, as many as the least common multiple of the lanes holds, so that every beat
// finds its elements in different banks. Segments come in at whole blocks (a word of all banks); they leave from any
// multiple of OutStep granules. Elements that pad the last beat of a segment come out undefined.
//
// Timing: the first beat of a row is offered in the cycle after its last one was taken; then a beat per cycle. A row is
// taken again in the cycle after the last beat of the row before the last left.
module lutra_bat_gearbox #(
  parameter int unsigned InLanes = 4,    // elements of a beat that comes
  parameter int unsigned OutLanes = 4,   // elements of a beat that leaves
  parameter int unsigned Bits = 16,      // of an element
  parameter int unsigned Granule = 4,    // a common divisor of both numbers of lanes, best the greatest
  parameter int unsigned Blocks = 8,     // blocks of InLanes * OutLanes / Granule elements that hold a row
  parameter int unsigned OutStep = 1,    // granules: where segments may begin that leave; a divisor of OutLanes / Granule
  parameter int unsigned CountBits = 12  // of counts
) (
  input  logic                     clk_i,           // clock
  input  logic                     rst_ni,          // synchronous reset, active low
  input  logic [1:0]               in_segments_i,   // segments of a row that comes, from 1; constant while a row is there
  input  logic [CountBits-1:0]     in_beats_i,      // beats of each, from 1
  input  logic [CountBits-1:0]     in_stride_i,     // blocks from one to the next
  input  logic [1:0]               out_segments_i,  // segments of a row that leaves, from 1
  input  logic [CountBits-1:0]     out_beats_i,     // beats of each, from 1
  input  logic [CountBits-1:0]     out_stride_i,    // whole blocks from one to the next
  input  logic [CountBits-1:0]     out_offset_i,    // and granules beyond them
  input  logic                     valid_i,         // a beat is offered
  output logic                     ready_o,         // it is taken
  input  logic [InLanes*Bits-1:0]  data_i,          // the beat
  output logic                     valid_o,         // a beat is offered
  input  logic                     ready_i,         // it is taken
  output logic [OutLanes*Bits-1:0] data_o           // the beat
);

  localparam int unsigned InGranules = InLanes / Granule;
  localparam int unsigned OutGranules = OutLanes / Granule;
  localparam int unsigned Banks = InGranules * OutGranules;
  localparam int unsigned BlockBits = Blocks > 1 ? $clog2(Blocks) : 1;
  localparam int unsigned WordBits = Granule * Bits;
  localparam logic [CountBits-1:0] BankCount = CountBits'(Banks);

  if (InLanes % Granule != 0 || OutLanes % Granule != 0 || OutGranules % OutStep != 0) begin : gen_wrong
    $error("Granule must divide InLanes and OutLanes, OutStep must divide OutLanes / Granule");
  end

  // Rows.
  logic [1:0] full_q;
  logic       in_row_q, out_row_q, in_last, out_last;

  assign ready_o = !full_q[in_row_q];
  assign valid_o = full_q[out_row_q];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      full_q    <= '0;
      in_row_q  <= 1'b0;
      out_row_q <= 1'b0;
    end else begin
      if (valid_i && ready_o && in_last) begin
        full_q[in_row_q] <= 1'b1;
        in_row_q         <= !in_row_q;
      end
      if (valid_o && ready_i && out_last) begin
        full_q[out_row_q] <= 1'b0;
        out_row_q         <= !out_row_q;
      end
    end
  end

  // Places of beats: a block, and in it a granule. Beats that come never cross blocks.
  logic [1:0]           in_segment_q, out_segment_q;
  logic [CountBits-1:0] in_beat_q, in_granule_q, in_block_q, in_start_q, in_next;
  logic                 in_segment_last, in_wraps;

  assign in_segment_last = in_beat_q == in_beats_i - 1'b1;
  assign in_last         = in_segment_last && in_segment_q == in_segments_i - 1'b1;
  assign in_next         = in_granule_q + CountBits'(InGranules);
  assign in_wraps        = in_next == BankCount;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || (valid_i && ready_o && in_last)) begin
      {in_segment_q, in_beat_q, in_granule_q, in_block_q, in_start_q} <= '0;
    end else if (valid_i && ready_o && in_segment_last) begin
      in_segment_q <= in_segment_q + 1'b1;
      in_beat_q    <= '0;
      in_granule_q <= '0;
      in_block_q   <= in_start_q + in_stride_i;
      in_start_q   <= in_start_q + in_stride_i;
    end else if (valid_i && ready_o) begin
      in_beat_q    <= in_beat_q + 1'b1;
      in_granule_q <= in_wraps ? '0 : in_next;
      in_block_q   <= in_block_q + CountBits'(in_wraps);
    end
  end

  // A beat that leaves follows the one before, or begins the next segment.
  logic [CountBits-1:0] out_beat_q, out_granule_q, out_block_q, out_first_q, out_start_q;
  logic [CountBits-1:0] out_granule, out_block, next_granule, next_block;
  logic                 out_segment_last, out_wraps;

  assign out_segment_last = out_beat_q == out_beats_i - 1'b1;
  assign out_last         = out_segment_last && out_segment_q == out_segments_i - 1'b1;
  assign out_granule      = out_segment_last ? out_first_q + out_offset_i : out_granule_q + CountBits'(OutGranules);
  assign out_block        = out_segment_last ? out_start_q + out_stride_i : out_block_q;
  assign out_wraps        = out_granule >= BankCount;
  assign next_granule     = out_wraps ? out_granule - BankCount : out_granule;
  assign next_block       = out_block + CountBits'(out_wraps);

  always_ff @(posedge clk_i) begin
    if (!rst_ni || (valid_o && ready_i && out_last)) begin
      {out_segment_q, out_beat_q, out_granule_q, out_block_q, out_first_q, out_start_q} <= '0;
    end else if (valid_o && ready_i) begin
      out_beat_q    <= out_segment_last ? '0 : out_beat_q + 1'b1;
      out_granule_q <= next_granule;
      out_block_q   <= next_block;
      if (out_segment_last) begin
        out_segment_q <= out_segment_q + 1'b1;
        out_first_q   <= next_granule;
        out_start_q   <= next_block;
      end
    end
  end

  // Banks. One that lies before the beat's first granule belongs to the next block.
  logic [Banks*WordBits-1:0] read;

  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    localparam logic [CountBits-1:0] Bank = CountBits'(b);
    localparam logic [CountBits-1:0] Writer = CountBits'(b / InGranules * InGranules);
    (* ram_style = "distributed" *) logic [WordBits-1:0] words [0:2**(BlockBits+1)-1];
    logic [BlockBits-1:0] read_block;

    assign read_block = out_block_q[BlockBits-1:0] + BlockBits'(OutStep != OutGranules && Bank < out_granule_q);
    assign read[b*WordBits +: WordBits] = words[{out_row_q, read_block}];

    always_ff @(posedge clk_i) begin
      if (valid_i && ready_o && in_granule_q == Writer) begin
        words[{in_row_q, in_block_q[BlockBits-1:0]}] <= data_i[(b % InGranules)*WordBits +: WordBits];
      end
    end
  end

  // The beat begins at one of the multiples of OutStep.
  always_comb begin
    data_o = '0;
    for (int s = 0; s < Banks; s += OutStep) begin
      if (out_granule_q == CountBits'(s)) begin
        for (int g = 0; g < OutGranules; g++) begin
          data_o[g*WordBits +: WordBits] = read[((s + g) % Banks)*WordBits +: WordBits];
        end
      end
    end
  end

endmodule
