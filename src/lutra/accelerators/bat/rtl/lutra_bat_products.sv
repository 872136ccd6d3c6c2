// The engine of a module with its memories, and the buffer in which its sums leave row by row.
//
// x is read from one of two memories: the inputs of blocks, which the other module may write while this one works, and
// what a block computes on the way. y is read from the weights, in two banks of which one is loaded while the other one
// is used, or from the bit planes of keys and values.
//
// Timing: see lutra_bat_engine and lutra_bat_gearbox.
module lutra_bat_products #(
  parameter int unsigned Units = 4,         // dot product units
  parameter int unsigned Elements = 32,     // products of a unit per cycle
  parameter int unsigned Bits = 4,          // of a code
  parameter int unsigned SumBits = 14,      // of a sum
  parameter int unsigned Sums = 0,          // how units add (lutra_bat_dpu)
  parameter int unsigned HeadWidth = 16,    // of a head
  parameter bit          Attention = 1,     // there are keys and values
  parameter int unsigned InputWords = 64,   // words of the inputs of blocks
  parameter int unsigned WorkWords = 64,    // words of what blocks compute
  parameter int unsigned WeightWords = 64,  // words of a bank of weights
  parameter int unsigned PlaneWords = 64,   // words of keys and values
  parameter int unsigned InputGranule = 4,  // codes of the inputs that are written together
  parameter int unsigned WorkGranule = 4,   // codes of the others that are written together
  parameter int unsigned YGranule = 4,      // bits of keys and values that are written together
  parameter int unsigned OutLanes = 4,      // sums of a beat that leaves
  parameter int unsigned Granule = 4,       // greatest common divisor of Units and OutLanes
  parameter int unsigned Blocks = 2,        // of a row of sums, see lutra_bat_gearbox
  parameter int unsigned PartBits = 8       // of the number of a beat in a word
) (
  input  logic                               clk_i,             // clock
  input  logic                               rst_ni,            // synchronous reset, active low
  input  logic                               start_i,           // the step of step_i starts
  input  logic                               bank_i,            // its bank
  input  logic [1023:0]                      step_i,            // its instruction
  input  logic                               load_write_i,      // write a part of a word of weights
  input  logic                               load_bank_i,       // into this bank
  input  logic [15:0]                        load_word_i,       // word
  input  logic [PartBits-1:0]                load_part_i,       // its 128 bits
  input  logic [127:0]                       load_data_i,       // what is written
  input  logic [Elements/InputGranule-1:0]   input_write_i,     // write these parts of a word of inputs
  input  logic [15:0]                        input_address_i,   // which word
  input  logic [Elements*Bits-1:0]           input_data_i,      // the word
  input  logic [Elements/WorkGranule-1:0]    work_write_i,      // write these parts of another word of x
  input  logic [15:0]                        work_address_i,    // which word
  input  logic [Elements*Bits-1:0]           work_data_i,       // the word
  input  logic [Units*Elements/YGranule-1:0] plane_write_i,     // write these parts of a word of keys or values
  input  logic [15:0]                        plane_address_i,   // which word
  input  logic [Units*Elements-1:0]          plane_data_i,      // the word
  output logic                               valid_o,           // a beat of sums is offered
  input  logic                               ready_i,           // it is taken
  output logic [OutLanes*SumBits-1:0]        data_o             // sums, two's complement
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned AddressBits = 16;
  localparam int unsigned ElementBits = $clog2(Elements + 1);
  localparam int unsigned YBits = Units * Elements;
  localparam int unsigned YBeats = (YBits + 127) / 128;
  localparam int unsigned InputAddressBits = InputWords > 1 ? $clog2(InputWords) : 1;
  localparam int unsigned WorkAddressBits = WorkWords > 1 ? $clog2(WorkWords) : 1;
  localparam int unsigned WeightAddressBits = $clog2(2 * WeightWords);
  localparam int unsigned PlaneAddressBits = PlaneWords > 1 ? $clog2(PlaneWords) : 1;

  // Fields of the instruction.
  logic                   use_engine, scores, context_step, signed_x, binary, x_is_input;
  logic [CountBits-1:0]   rows, heads, groups, chunks, copies, sum_beats, sum_stride, vector_beats;
  logic [ElementBits-1:0] last_elements;
  logic [AddressBits-1:0] x_base, x_row_stride, y_base, y_chunk_stride, y_bit_stride, y_group_stride, y_head_stride;

  assign use_engine     = step_i[0];
  assign scores         = step_i[2];
  assign context_step   = step_i[3];
  assign signed_x       = step_i[9];
  assign binary         = step_i[10];
  assign x_is_input     = step_i[19];
  assign rows           = step_i[2*16 +: CountBits];
  assign heads          = step_i[3*16 +: CountBits];
  assign groups         = step_i[4*16 +: CountBits];
  assign chunks         = step_i[5*16 +: CountBits];
  assign last_elements  = step_i[6*16 +: ElementBits];
  assign x_base         = step_i[7*16 +: AddressBits];
  assign x_row_stride   = step_i[8*16 +: AddressBits];
  assign y_base         = step_i[9*16 +: AddressBits];
  assign y_chunk_stride = step_i[10*16 +: AddressBits];
  assign y_bit_stride   = step_i[11*16 +: AddressBits];
  assign y_group_stride = step_i[12*16 +: AddressBits];
  assign y_head_stride  = step_i[13*16 +: AddressBits];
  assign copies         = step_i[14*16 +: CountBits];
  assign sum_beats      = step_i[16*16 +: CountBits];
  assign sum_stride     = step_i[17*16 +: CountBits];
  assign vector_beats   = step_i[18*16 +: CountBits];

  // Memories. Weights are counted from the beginning of their bank.
  logic                     planes, x_read, y_read, sums_valid, sums_ready, unused_done;
  logic [AddressBits-1:0]   x_address, y_address;
  logic [Elements*Bits-1:0] input_word, work_word;
  logic [YBeats*128-1:0]    weight_word;
  logic [YBits-1:0]         plane_word;
  logic [YBeats-1:0]        weight_write;
  logic [Units*SumBits-1:0] sums;

  assign planes = scores || context_step;

  lutra_bat_memory #(
    .Words(InputWords), .Granules(Elements / InputGranule), .GranuleBits(InputGranule * Bits),
    .AddressBits(InputAddressBits)
  ) u_inputs (
    .clk_i, .write_i(input_write_i), .write_address_i(input_address_i[InputAddressBits-1:0]), .data_i(input_data_i),
    .read_i(x_read && x_is_input), .read_address_i(x_address[InputAddressBits-1:0]), .data_o(input_word)
  );
  lutra_bat_memory #(
    .Words(WorkWords), .Granules(Elements / WorkGranule), .GranuleBits(WorkGranule * Bits),
    .AddressBits(WorkAddressBits)
  ) u_work (
    .clk_i, .write_i(work_write_i), .write_address_i(work_address_i[WorkAddressBits-1:0]), .data_i(work_data_i),
    .read_i(x_read && !x_is_input), .read_address_i(x_address[WorkAddressBits-1:0]), .data_o(work_word)
  );

  for (genvar p = 0; p < YBeats; p++) begin : gen_weight_write
    assign weight_write[p] = load_write_i && load_part_i == PartBits'(p);
  end

  lutra_bat_memory #(
    .Words(2 * WeightWords), .Granules(YBeats), .GranuleBits(128), .AddressBits(WeightAddressBits)
  ) u_weights (
    .clk_i, .write_i(weight_write),
    .write_address_i(load_word_i[WeightAddressBits-1:0] + (load_bank_i ? WeightAddressBits'(WeightWords) : '0)),
    .data_i({YBeats{load_data_i}}), .read_i(y_read && !planes), .read_address_i(y_address[WeightAddressBits-1:0]),
    .data_o(weight_word)
  );

  if (Attention) begin : gen_planes
    lutra_bat_memory #(
      .Words(PlaneWords), .Granules(YBits / YGranule), .GranuleBits(YGranule), .AddressBits(PlaneAddressBits)
    ) u_planes (
      .clk_i, .write_i(plane_write_i), .write_address_i(plane_address_i[PlaneAddressBits-1:0]), .data_i(plane_data_i),
      .read_i(y_read && planes), .read_address_i(y_address[PlaneAddressBits-1:0]), .data_o(plane_word)
    );
  end else begin : gen_no_planes
    assign plane_word = '0;
  end

  lutra_bat_engine #(
    .Units(Units),
    .Elements(Elements),
    .Bits(Bits),
    .SumBits(SumBits),
    .Sums(Sums),
    .HeadWidth(HeadWidth),
    .CountBits(CountBits),
    .AddressBits(AddressBits),
    .LaneBits(ElementBits)
  ) u_engine (
    .clk_i,
    .rst_ni,
    .start_i(start_i && use_engine),
    .scores_i(scores),
    .signed_i(signed_x),
    .binary_i(binary),
    .heads_i(heads),
    .rows_i(rows),
    .groups_i(groups),
    .chunks_i(chunks),
    .last_elements_i(last_elements),
    .x_base_i(x_base),
    .x_row_stride_i(x_row_stride),
    .y_base_i(y_base + (bank_i && !planes ? AddressBits'(WeightWords) : '0)),
    .y_chunk_stride_i(y_chunk_stride),
    .y_bit_stride_i(y_bit_stride),
    .y_group_stride_i(y_group_stride),
    .y_head_stride_i(y_head_stride),
    .x_read_o(x_read),
    .x_address_o(x_address),
    .x_data_i(x_is_input ? input_word : work_word),
    .y_read_o(y_read),
    .y_address_o(y_address),
    .y_data_i(planes ? plane_word : weight_word[YBits-1:0]),
    .sum_valid_o(sums_valid),
    .sum_ready_i(sums_ready),
    .sum_data_o(sums),
    .done_o(unused_done)
  );

  lutra_bat_gearbox #(
    .InLanes(Units), .OutLanes(OutLanes), .Bits(SumBits), .Granule(Granule), .Blocks(Blocks),
    .OutStep(OutLanes / Granule), .CountBits(CountBits)
  ) u_sums (
    .clk_i, .rst_ni, .in_segments_i(copies[1:0]), .in_beats_i(sum_beats), .in_stride_i(sum_stride),
    .out_segments_i(copies[1:0]), .out_beats_i(vector_beats), .out_stride_i(sum_stride), .out_offset_i('0),
    .valid_i(sums_valid), .ready_o(sums_ready), .data_i(sums), .valid_o, .ready_i, .data_o
  );

  logic unused;

  assign unused = ^{step_i, load_word_i, input_address_i, work_address_i, plane_address_i, plane_write_i, plane_data_i,
                    copies, x_address, y_address, weight_word};

endmodule
