// One half of BAT: engine, vector unit, softmax, layer norm and quantisation unit, their memories, and a controller that
// walks through a program of steps (isa.md).
//
// In a step rows flow through a chain of units that the instruction chooses; between two units stands a buffer of whole
// rows. Codes stay in the module: the memory of x holds the step's inputs and outputs, a memory of its own keys and
// values. binary16 rows stream in and out.
//
// Timing: a step starts in the cycle after the step before is done and its bank is loaded. It is done when its last codes
// are being written and its last row has reached memory. How long that takes is said in latency.py.
module lutra_bat_module #(
  parameter int unsigned Units = 4,             // dot product units of the engine
  parameter int unsigned Elements = 32,         // products of a unit per cycle
  parameter int unsigned Bits = 4,              // of a code
  parameter int unsigned SumBits = 14,          // of a sum
  parameter int unsigned Sums = 0,              // how units add (lutra_bat_dpu)
  parameter int unsigned HeadWidth = 16,        // of a head
  parameter bit          Attention = 1,         // runs attention, and not only feed-forward blocks
  parameter int unsigned VectorLanes = 4,       // of the vector unit
  parameter int unsigned QuantiseLanes = 4,     // of the quantisation unit
  parameter int unsigned NormLanes = 2,         // of the layer norm
  parameter int unsigned SoftmaxLanes = 4,      // of the softmax
  parameter bit          Scale = 0,             // the quantisation unit multiplies
  parameter int unsigned VectorBeatBits = 5,    // of beats of a row of the vector unit
  parameter int unsigned QuantiseBeatBits = 5,  // of the quantisation unit
  parameter int unsigned NormBeatBits = 6,      // of the layer norm
  parameter int unsigned SoftmaxBeatBits = 5,   // of the softmax
  parameter int unsigned FactorBits = 6,        // of addresses of factors
  parameter int unsigned NormFifoBits = 7,      // see lutra_bat_norm
  parameter int unsigned WidthBits = 7,         // log2 of the widest row of a layer norm
  parameter int unsigned SoftmaxFifoBits = 6,   // see lutra_bat_softmax
  parameter int unsigned TokenBits = 5,         // log2 of the longest row of a softmax
  parameter int unsigned XWords = 64,           // words of the memory of x
  parameter int unsigned YWords = 64,           // words of a bank of weights
  parameter int unsigned PlaneWords = 64,       // words of the memory of keys and values
  parameter int unsigned XGranule = 4,          // see lutra_bat_store
  parameter int unsigned ValueLanes = 4,        // see lutra_bat_store
  parameter int unsigned YGranule = 4,          // see lutra_bat_store
  parameter int unsigned ValueWords = 8,        // see lutra_bat_store
  parameter int unsigned SumBlocks = 1,         // blocks of a row, see lutra_bat_gearbox: from engine to vector unit,
  parameter int unsigned NumberBlocks = 1,      // vector unit to quantisation unit,
  parameter int unsigned NumberStep = 1,        // (its OutStep,)
  parameter int unsigned ScoreBlocks = 1,       // vector unit to softmax,
  parameter int unsigned ProbabilityBlocks = 1, // softmax to quantisation unit,
  parameter int unsigned NormBlocks = 1,        // vector unit to layer norm,
  parameter int unsigned NormedBlocks = 1,      // layer norm to quantisation unit,
  parameter int unsigned WrittenBlocks = 1,     // layer norm to memory,
  parameter int unsigned ResidualBlocks = 1,    // memory to vector unit,
  parameter int unsigned FirstBlocks = 1,       // memory to quantisation unit
  parameter int unsigned SumGranule = 4,        // greatest common divisors of lanes, in the same order
  parameter int unsigned NumberGranule = 4,
  parameter int unsigned ScoreGranule = 4,
  parameter int unsigned ProbabilityGranule = 4,
  parameter int unsigned NormGranule = 2,
  parameter int unsigned NormedGranule = 2,
  parameter int unsigned WrittenGranule = 2,
  parameter int unsigned ResidualGranule = 4,
  parameter int unsigned FirstGranule = 4,
  parameter              ExpFile = "bat_exp.hex",               // see lutra_bat_softmax
  parameter              ReciprocalFile = "bat_reciprocal.hex", // see lutra_bat_softmax
  parameter              RootFile = "bat_root.hex"              // see lutra_bat_norm
) (
  input  logic         clk_i,            // clock
  input  logic         rst_ni,           // synchronous reset, active low
  input  logic         start_i,          // run a program
  input  logic [31:0]  program_i,        // its address
  output logic         done_o,           // its last step is done, for one cycle
  output logic [2:0]   errors_o,         // since the reset a number left the range: vector, quantisation unit, layer norm
  output logic         load_start_o,     // ask memory for a part of the program
  output logic [31:0]  load_address_o,   // from this address on
  output logic [23:0]  load_beats_o,     // so many beats of 128 bits
  input  logic         load_valid_i,     // a beat of them
  output logic         load_ready_o,     // it is taken
  input  logic [127:0] load_data_i,      // the beat
  output logic         read_start_o,     // ask memory for rows
  output logic         write_start_o,    // send rows to memory
  output logic [31:0]  read_address_o,   // where the rows begin that are read
  output logic [31:0]  write_address_o,  // where the rows begin that are written
  output logic [23:0]  row_beats_o,      // beats of all rows
  input  logic         read_valid_i,     // a beat of them
  output logic         read_ready_o,     // it is taken
  input  logic [127:0] read_data_i,      // eight binary16 numbers
  output logic         write_valid_o,    // a beat of rows
  input  logic         write_ready_i,    // it is taken
  output logic [127:0] write_data_o,     // eight binary16 numbers
  input  logic         write_done_i      // all of them have reached memory
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned AddressBits = 16;
  localparam int unsigned LaneBits = 9;
  localparam int unsigned ElementBits = $clog2(Elements + 1);
  localparam int unsigned MemoryLanes = 8;  // binary16 numbers of a beat of memory
  localparam int unsigned YBits = Units * Elements;
  localparam int unsigned YBeats = (YBits + 127) / 128;
  localparam int unsigned TableBits = Scale ? 16 : (2 ** Bits - 1) * 16;
  localparam int unsigned TableBeats = (3 * TableBits + 127) / 128;
  localparam int unsigned PartBits = 8;
  localparam int unsigned XAddressBits = XWords > 1 ? $clog2(XWords) : 1;
  localparam int unsigned YAddressBits = $clog2(2 * YWords);
  localparam int unsigned PlaneAddressBits = PlaneWords > 1 ? $clog2(PlaneWords) : 1;

  // Loading.
  logic [1:0]          loaded;
  logic [1023:0]       instruction_0, instruction_1;
  logic                load_bank, load_table, step_done;
  logic [5:0]          load_write;
  logic [15:0]         load_word;
  logic [PartBits-1:0] load_part;
  logic [127:0]        load_data;

  lutra_bat_loader #(
    .YBeats(YBeats),
    .VectorBeats((VectorLanes * 16 + 127) / 128),
    .QuantiseBeats((QuantiseLanes * 16 + 127) / 128),
    .NormBeats((NormLanes * 16 + 127) / 128),
    .TableBeats(TableBeats),
    .PartBits(PartBits)
  ) u_loader (
    .clk_i,
    .rst_ni,
    .start_i,
    .program_i,
    .done_i(step_done),
    .loaded_o(loaded),
    .instruction_0_o(instruction_0),
    .instruction_1_o(instruction_1),
    .read_o(load_start_o),
    .read_address_o(load_address_o),
    .read_beats_o(load_beats_o),
    .valid_i(load_valid_i),
    .ready_o(load_ready_o),
    .data_i(load_data_i),
    .bank_o(load_bank),
    .write_o(load_write),
    .write_table_o(load_table),
    .address_o(load_word),
    .part_o(load_part),
    .data_o(load_data)
  );

  // The step that runs. Fields change only while nothing is under way.
  logic          bank_q, running_q, stored_q, written_q, start;
  logic [1023:0] step;

  assign step  = bank_q ? instruction_1 : instruction_0;
  assign start = !running_q && loaded[bank_q];

  logic use_engine, attention, scores, context_step, use_softmax, use_norm, use_residual, relu, from_memory, signed_x;
  logic binary, signed_codes, use_bias, same_factor, quantise_bias, store, last_step;

  assign {store, quantise_bias, same_factor, use_bias, signed_codes, binary, signed_x, from_memory, relu, use_residual,
          use_norm, use_softmax, context_step, scores, attention, use_engine} = step[15:0];
  assign last_step = step[16];

  logic [CountBits-1:0]   rows, heads, groups, chunks, copies, sum_beats, sum_stride, vector_beats, quantise_segments;
  logic [CountBits-1:0]   quantise_beats, quantise_stride, quantise_offset, softmax_beats, norm_beats, store_heads;
  logic [CountBits-1:0]   store_rows, value_parts, row_beats;
  logic [AddressBits-1:0] x_base, x_row_stride, y_base, y_chunk_stride, y_bit_stride, y_group_stride, y_head_stride;
  logic [AddressBits-1:0] store_base, store_row_stride, key_base, key_chunk_stride, value_base, value_plane_stride;
  logic [ElementBits-1:0] last_elements;
  logic [LaneBits-1:0]    vector_last_lanes, quantise_last_lanes, softmax_last_lanes, norm_last_lanes;
  logic [4:0]             exponent;
  logic [11:0]            width;
  logic [31:0]            epsilon;

  assign rows                = step[2*16 +: CountBits];
  assign heads               = step[3*16 +: CountBits];
  assign groups              = step[4*16 +: CountBits];
  assign chunks              = step[5*16 +: CountBits];
  assign last_elements       = step[6*16 +: ElementBits];
  assign x_base              = step[7*16 +: AddressBits];
  assign x_row_stride        = step[8*16 +: AddressBits];
  assign y_base              = step[9*16 +: AddressBits];
  assign y_chunk_stride      = step[10*16 +: AddressBits];
  assign y_bit_stride        = step[11*16 +: AddressBits];
  assign y_group_stride      = step[12*16 +: AddressBits];
  assign y_head_stride       = step[13*16 +: AddressBits];
  assign copies              = step[14*16 +: CountBits];
  assign exponent            = step[15*16 +: 5];
  assign sum_beats           = step[16*16 +: CountBits];
  assign sum_stride          = step[17*16 +: CountBits];
  assign vector_beats        = step[18*16 +: CountBits];
  assign vector_last_lanes   = step[19*16 +: LaneBits];
  assign quantise_segments   = step[20*16 +: CountBits];
  assign quantise_beats      = step[21*16 +: CountBits];
  assign quantise_last_lanes = step[22*16 +: LaneBits];
  assign quantise_stride     = step[23*16 +: CountBits];
  assign quantise_offset     = step[24*16 +: CountBits];
  assign softmax_beats       = step[25*16 +: CountBits];
  assign softmax_last_lanes  = step[26*16 +: LaneBits];
  assign norm_beats          = step[27*16 +: CountBits];
  assign norm_last_lanes     = step[28*16 +: LaneBits];
  assign width               = step[29*16 +: 12];
  assign epsilon             = step[30*16 +: 32];
  assign store_base          = step[32*16 +: AddressBits];
  assign store_row_stride    = step[33*16 +: AddressBits];
  assign store_heads         = step[34*16 +: CountBits];
  assign key_base            = step[35*16 +: AddressBits];
  assign key_chunk_stride    = step[36*16 +: AddressBits];
  assign value_base          = step[37*16 +: AddressBits];
  assign value_plane_stride  = step[38*16 +: AddressBits];
  assign value_parts         = step[39*16 +: CountBits];
  assign row_beats           = step[40*16 +: CountBits];
  assign store_rows          = step[41*16 +: CountBits];
  assign read_address_o      = step[42*16 +: 32];
  assign write_address_o     = step[44*16 +: 32];
  assign row_beats_o         = step[46*16 +: 24];
  assign read_start_o        = start && (use_residual || from_memory);
  assign write_start_o       = start && use_norm;

  logic store_done;

  assign step_done = running_q && (stored_q || !store || store_done) && (written_q || !use_norm || write_done_i);
  assign done_o    = step_done && last_step;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      bank_q    <= 1'b0;
      running_q <= 1'b0;
      stored_q  <= 1'b0;
      written_q <= 1'b0;
    end else begin
      running_q <= start || (running_q && !step_done);
      bank_q    <= bank_q ^ step_done;
      stored_q  <= !step_done && (stored_q || store_done);
      written_q <= !step_done && (written_q || write_done_i);
    end
  end

  // Engine and its memories. Weights lie in two banks; y_base counts from the bank's beginning.
  logic                               x_read, y_read, sums_valid, sums_ready, engine_done;
  logic [AddressBits-1:0]             x_address, y_address;
  logic [Elements*Bits-1:0]           x_word;
  logic [YBeats*128-1:0]              weight_word;
  logic [YBits-1:0]                   plane_word;
  logic [Units*SumBits-1:0]           sums;
  logic [Elements/XGranule-1:0]       x_write;
  logic [AddressBits-1:0]             x_write_address, plane_write_address;
  logic [Elements*Bits-1:0]           x_write_data;
  logic [YBits/YGranule-1:0]          plane_write;
  logic [YBits-1:0]                   plane_write_data;
  logic [YBeats-1:0]                  weight_write;
  logic                               planes;

  assign planes = scores || context_step;

  for (genvar p = 0; p < YBeats; p++) begin : gen_weight_write
    assign weight_write[p] = load_write[0] && load_part == PartBits'(p);
  end

  lutra_bat_memory #(
    .Words(XWords), .Granules(Elements / XGranule), .GranuleBits(XGranule * Bits), .AddressBits(XAddressBits)
  ) u_x (
    .clk_i,
    .write_i(x_write),
    .write_address_i(x_write_address[XAddressBits-1:0]),
    .data_i(x_write_data),
    .read_i(x_read),
    .read_address_i(x_address[XAddressBits-1:0]),
    .data_o(x_word)
  );

  lutra_bat_memory #(
    .Words(2 * YWords), .Granules(YBeats), .GranuleBits(128), .AddressBits(YAddressBits)
  ) u_weights (
    .clk_i,
    .write_i(weight_write),
    .write_address_i(load_word[YAddressBits-1:0] + (load_bank ? YAddressBits'(YWords) : '0)),
    .data_i({YBeats{load_data}}),
    .read_i(y_read && !planes),
    .read_address_i(y_address[YAddressBits-1:0]),
    .data_o(weight_word)
  );

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
    .start_i(start && use_engine),
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
    .y_base_i(y_base + (bank_q && !planes ? AddressBits'(YWords) : '0)),
    .y_chunk_stride_i(y_chunk_stride),
    .y_bit_stride_i(y_bit_stride),
    .y_group_stride_i(y_group_stride),
    .y_head_stride_i(y_head_stride),
    .x_read_o(x_read),
    .x_address_o(x_address),
    .x_data_i(x_word),
    .y_read_o(y_read),
    .y_address_o(y_address),
    .y_data_i(planes ? plane_word : weight_word[YBits-1:0]),
    .sum_valid_o(sums_valid),
    .sum_ready_i(sums_ready),
    .sum_data_o(sums),
    .done_o(engine_done)
  );

  // Vector unit.
  logic                           summed_valid, summed_ready, residual_valid, residual_ready;
  logic                           vector_valid, vector_ready;
  logic [VectorLanes*SumBits-1:0] summed;
  logic [VectorLanes*16-1:0]      residual, vector_data, factor, vector_bias;
  logic [FactorBits-1:0]          factor_address;
  logic [VectorBeatBits-1:0]      vector_bias_address;

  lutra_bat_gearbox #(
    .InLanes(Units), .OutLanes(VectorLanes), .Bits(SumBits), .Granule(SumGranule), .Blocks(SumBlocks),
    .OutStep(VectorLanes / SumGranule), .CountBits(CountBits)
  ) u_sums (
    .clk_i, .rst_ni, .in_segments_i(copies[1:0]), .in_beats_i(sum_beats), .in_stride_i(sum_stride),
    .out_segments_i(copies[1:0]), .out_beats_i(vector_beats), .out_stride_i(sum_stride), .out_offset_i('0),
    .valid_i(sums_valid), .ready_o(sums_ready), .data_i(sums),
    .valid_o(summed_valid), .ready_i(summed_ready), .data_o(summed)
  );

  lutra_bat_gearbox #(
    .InLanes(MemoryLanes), .OutLanes(VectorLanes), .Bits(16), .Granule(ResidualGranule), .Blocks(ResidualBlocks),
    .OutStep(VectorLanes / ResidualGranule), .CountBits(CountBits)
  ) u_residual (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(row_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(vector_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(read_valid_i && use_residual), .ready_o(residual_in_ready), .data_i(read_data_i),
    .valid_o(residual_valid), .ready_i(residual_ready), .data_o(residual)
  );

  logic residual_in_ready, first_in_ready;

  assign read_ready_o = use_residual ? residual_in_ready : first_in_ready;

  lutra_bat_parameters #(.Bits(VectorLanes * 16), .AddressBits(FactorBits), .PartBits(PartBits)) u_factors (
    .clk_i, .write_i(load_write[1]), .write_bank_i(load_bank), .write_address_i(load_word[FactorBits-1:0]),
    .part_i(load_part), .data_i(load_data), .read_bank_i(bank_q), .read_address_i(factor_address), .data_o(factor)
  );
  lutra_bat_parameters #(.Bits(VectorLanes * 16), .AddressBits(VectorBeatBits), .PartBits(PartBits)) u_vector_biases (
    .clk_i, .write_i(load_write[2]), .write_bank_i(load_bank), .write_address_i(load_word[VectorBeatBits-1:0]),
    .part_i(load_part), .data_i(load_data), .read_bank_i(bank_q), .read_address_i(vector_bias_address),
    .data_o(vector_bias)
  );

  lutra_bat_vector #(
    .Lanes(VectorLanes), .SumBits(SumBits), .BeatBits(VectorBeatBits), .AddressBits(FactorBits), .LaneBits(LaneBits)
  ) u_vector (
    .clk_i,
    .rst_ni,
    .beats_i(vector_beats[VectorBeatBits-1:0]),
    .last_lanes_i(vector_last_lanes),
    .copies_i(copies[1:0]),
    .use_bias_i(use_bias),
    .use_residual_i(use_residual),
    .relu_i(relu),
    .same_factor_i(same_factor),
    .exponent_i(exponent),
    .sums_valid_i(summed_valid),
    .sums_ready_o(summed_ready),
    .sums_data_i(summed),
    .residual_valid_i(residual_valid),
    .residual_ready_o(residual_ready),
    .residual_data_i(residual),
    .factor_address_o(factor_address),
    .factor_i(factor),
    .bias_address_o(vector_bias_address),
    .bias_i(vector_bias),
    .valid_o(vector_valid),
    .ready_i(vector_ready),
    .data_o(vector_data),
    .error_o(errors_o[0])
  );

  // Behind it stand the softmax, the layer norm, or at once the quantisation unit.
  logic                        numbers_in_ready, numbers_valid, norm_in_ready, scores_in_ready;
  logic                        probabilities_valid, normed_valid, first_valid, quantise_valid, quantise_ready;
  logic [QuantiseLanes*16-1:0] numbers, probabilities, normed, first, quantise_data;

  assign vector_ready = use_norm ? norm_in_ready : (use_softmax ? scores_in_ready : numbers_in_ready);

  lutra_bat_gearbox #(
    .InLanes(VectorLanes), .OutLanes(QuantiseLanes), .Bits(16), .Granule(NumberGranule), .Blocks(NumberBlocks),
    .OutStep(NumberStep), .CountBits(CountBits)
  ) u_numbers (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
    .out_segments_i(quantise_segments[1:0]), .out_beats_i(quantise_beats), .out_stride_i(quantise_stride),
    .out_offset_i(quantise_offset), .valid_i(vector_valid && !use_norm && !use_softmax), .ready_o(numbers_in_ready),
    .data_i(vector_data), .valid_o(numbers_valid), .ready_i(quantise_ready), .data_o(numbers)
  );

  if (Attention) begin : gen_softmax
    logic                       scores_valid, scores_ready, softmax_valid, softmax_ready;
    logic [SoftmaxLanes*16-1:0] scores_data, softmax_data;

    lutra_bat_gearbox #(
      .InLanes(VectorLanes), .OutLanes(SoftmaxLanes), .Bits(16), .Granule(ScoreGranule), .Blocks(ScoreBlocks),
      .OutStep(SoftmaxLanes / ScoreGranule), .CountBits(CountBits)
    ) u_scores (
      .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
      .out_segments_i(2'd1), .out_beats_i(softmax_beats), .out_stride_i('0), .out_offset_i('0),
      .valid_i(vector_valid && use_softmax), .ready_o(scores_in_ready), .data_i(vector_data),
      .valid_o(scores_valid), .ready_i(scores_ready), .data_o(scores_data)
    );
    lutra_bat_softmax #(
      .Lanes(SoftmaxLanes),
      .BeatBits(SoftmaxBeatBits),
      .LaneBits(LaneBits),
      .CountBits(TokenBits),
      .AddressBits(SoftmaxFifoBits),
      .ExpFile(ExpFile),
      .ReciprocalFile(ReciprocalFile)
    ) u_softmax (
      .clk_i,
      .rst_ni,
      .beats_i(softmax_beats[SoftmaxBeatBits-1:0]),
      .last_lanes_i(softmax_last_lanes),
      .valid_i(scores_valid),
      .ready_o(scores_ready),
      .data_i(scores_data),
      .valid_o(softmax_valid),
      .ready_i(softmax_ready),
      .data_o(softmax_data)
    );
    lutra_bat_gearbox #(
      .InLanes(SoftmaxLanes), .OutLanes(QuantiseLanes), .Bits(16), .Granule(ProbabilityGranule),
      .Blocks(ProbabilityBlocks), .OutStep(QuantiseLanes / ProbabilityGranule), .CountBits(CountBits)
    ) u_probabilities (
      .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(softmax_beats), .in_stride_i('0),
      .out_segments_i(2'd1), .out_beats_i(quantise_beats), .out_stride_i('0), .out_offset_i('0),
      .valid_i(softmax_valid), .ready_o(softmax_ready), .data_i(softmax_data),
      .valid_o(probabilities_valid), .ready_i(quantise_ready), .data_o(probabilities)
    );
  end else begin : gen_no_softmax
    assign scores_in_ready     = 1'b0;
    assign probabilities_valid = 1'b0;
    assign probabilities       = '0;
  end

  // Layer norm; its rows go to memory, and their codes to the next block.
  logic                    norm_in_valid, norm_ready, norm_valid, normed_in_ready, written_in_ready;
  logic [NormLanes*16-1:0] norm_in, norm_data, gain, norm_bias;
  logic [NormBeatBits-1:0] gain_address, norm_bias_address;

  lutra_bat_gearbox #(
    .InLanes(VectorLanes), .OutLanes(NormLanes), .Bits(16), .Granule(NormGranule), .Blocks(NormBlocks),
    .OutStep(NormLanes / NormGranule), .CountBits(CountBits)
  ) u_summed (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(norm_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(vector_valid && use_norm), .ready_o(norm_in_ready), .data_i(vector_data),
    .valid_o(norm_in_valid), .ready_i(norm_ready), .data_o(norm_in)
  );

  lutra_bat_parameters #(.Bits(NormLanes * 16), .AddressBits(NormBeatBits), .PartBits(PartBits)) u_gains (
    .clk_i, .write_i(load_write[4]), .write_bank_i(load_bank), .write_address_i(load_word[NormBeatBits-1:0]),
    .part_i(load_part), .data_i(load_data), .read_bank_i(bank_q), .read_address_i(gain_address), .data_o(gain)
  );
  lutra_bat_parameters #(.Bits(NormLanes * 16), .AddressBits(NormBeatBits), .PartBits(PartBits)) u_norm_biases (
    .clk_i, .write_i(load_write[5]), .write_bank_i(load_bank), .write_address_i(load_word[NormBeatBits-1:0]),
    .part_i(load_part), .data_i(load_data), .read_bank_i(bank_q), .read_address_i(norm_bias_address), .data_o(norm_bias)
  );

  lutra_bat_norm #(
    .Lanes(NormLanes),
    .BeatBits(NormBeatBits),
    .LaneBits(LaneBits),
    .CountBits(WidthBits),
    .AddressBits(NormFifoBits),
    .RootFile(RootFile)
  ) u_norm (
    .clk_i,
    .rst_ni,
    .beats_i(norm_beats[NormBeatBits-1:0]),
    .last_lanes_i(norm_last_lanes),
    .width_i(width),
    .epsilon_i(epsilon),
    .valid_i(norm_in_valid),
    .ready_o(norm_ready),
    .data_i(norm_in),
    .gain_address_o(gain_address),
    .gain_i(gain),
    .bias_address_o(norm_bias_address),
    .bias_i(norm_bias),
    .valid_o(norm_valid),
    .ready_i(written_in_ready && (normed_in_ready || !store)),
    .data_o(norm_data),
    .error_o(errors_o[2])
  );

  lutra_bat_gearbox #(
    .InLanes(NormLanes), .OutLanes(QuantiseLanes), .Bits(16), .Granule(NormedGranule), .Blocks(NormedBlocks),
    .OutStep(QuantiseLanes / NormedGranule), .CountBits(CountBits)
  ) u_normed (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(norm_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(quantise_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(norm_valid && store && written_in_ready), .ready_o(normed_in_ready), .data_i(norm_data),
    .valid_o(normed_valid), .ready_i(quantise_ready), .data_o(normed)
  );
  lutra_bat_gearbox #(
    .InLanes(NormLanes), .OutLanes(MemoryLanes), .Bits(16), .Granule(WrittenGranule), .Blocks(WrittenBlocks),
    .OutStep(MemoryLanes / WrittenGranule), .CountBits(CountBits)
  ) u_written (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(norm_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(row_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(norm_valid && (normed_in_ready || !store)), .ready_o(written_in_ready), .data_i(norm_data),
    .valid_o(write_valid_o), .ready_i(write_ready_i), .data_o(write_data_o)
  );

  // Rows of memory that are quantised as they are.
  lutra_bat_gearbox #(
    .InLanes(MemoryLanes), .OutLanes(QuantiseLanes), .Bits(16), .Granule(FirstGranule), .Blocks(FirstBlocks),
    .OutStep(QuantiseLanes / FirstGranule), .CountBits(CountBits)
  ) u_first (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(row_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(quantise_beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(read_valid_i && from_memory), .ready_o(first_in_ready), .data_i(read_data_i),
    .valid_o(first_valid), .ready_i(quantise_ready), .data_o(first)
  );

  // Quantisation unit. Its tables are registers.
  logic [TableBeats*128-1:0]   tables_q [0:1];
  logic [QuantiseBeatBits-1:0] quantise_bias_address;
  logic [QuantiseLanes*16-1:0] quantise_bias_word;
  logic [QuantiseLanes*Bits-1:0] codes;
  logic                        codes_valid, codes_ready;

  for (genvar t = 0; t < TableBeats; t++) begin : gen_table
    always_ff @(posedge clk_i) begin
      if (load_table && load_part == PartBits'(t)) begin
        tables_q[load_bank][t*128 +: 128] <= load_data;
      end
    end
  end

  always_comb begin
    if (from_memory) begin
      quantise_valid = first_valid;
      quantise_data  = first;
    end else if (use_norm) begin
      quantise_valid = normed_valid;
      quantise_data  = normed;
    end else if (use_softmax) begin
      quantise_valid = probabilities_valid;
      quantise_data  = probabilities;
    end else begin
      quantise_valid = numbers_valid;
      quantise_data  = numbers;
    end
  end

  lutra_bat_parameters #(.Bits(QuantiseLanes * 16), .AddressBits(QuantiseBeatBits), .PartBits(PartBits)) u_biases (
    .clk_i, .write_i(load_write[3]), .write_bank_i(load_bank), .write_address_i(load_word[QuantiseBeatBits-1:0]),
    .part_i(load_part), .data_i(load_data), .read_bank_i(bank_q), .read_address_i(quantise_bias_address),
    .data_o(quantise_bias_word)
  );

  lutra_bat_quantise #(
    .Lanes(QuantiseLanes), .Bits(Bits), .Scale(Scale), .BeatBits(QuantiseBeatBits), .RowBits(CountBits),
    .LaneBits(LaneBits)
  ) u_quantise (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .by_head_i(context_step),
    .rows_i(rows),
    .segments_i(quantise_segments[1:0]),
    .beats_i(quantise_beats[QuantiseBeatBits-1:0]),
    .last_lanes_i(quantise_last_lanes),
    .signed_i(signed_codes),
    .use_bias_i(quantise_bias),
    .tables_i(tables_q[bank_q][3*TableBits-1:0]),
    .bias_address_o(quantise_bias_address),
    .bias_i(quantise_bias_word),
    .valid_i(quantise_valid),
    .ready_o(quantise_ready),
    .data_i(quantise_data),
    .valid_o(codes_valid),
    .ready_i(codes_ready),
    .codes_o(codes),
    .error_o(errors_o[1])
  );

  lutra_bat_store #(
    .Lanes(QuantiseLanes),
    .Bits(Bits),
    .Elements(Elements),
    .Units(Units),
    .HeadWidth(HeadWidth),
    .XGranule(XGranule),
    .ValueLanes(ValueLanes),
    .YGranule(YGranule),
    .Attention(Attention),
    .ValueWords(ValueWords),
    .CountBits(CountBits),
    .AddressBits(AddressBits)
  ) u_store (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .attention_i(attention),
    .context_i(context_step),
    .rows_i(store_rows),
    .heads_i(store_heads),
    .beats_i(quantise_beats),
    .x_base_i(store_base),
    .x_row_stride_i(store_row_stride),
    .key_base_i(key_base),
    .key_chunk_stride_i(key_chunk_stride),
    .value_base_i(value_base),
    .value_plane_stride_i(value_plane_stride),
    .value_parts_i(value_parts),
    .valid_i(codes_valid),
    .ready_o(codes_ready),
    .data_i(codes),
    .x_write_o(x_write),
    .x_address_o(x_write_address),
    .x_data_o(x_write_data),
    .y_write_o(plane_write),
    .y_address_o(plane_write_address),
    .y_data_o(plane_write_data),
    .done_o(store_done)
  );

  if (Attention) begin : gen_planes
    lutra_bat_memory #(
      .Words(PlaneWords), .Granules(YBits / YGranule), .GranuleBits(YGranule), .AddressBits(PlaneAddressBits)
    ) u_planes (
      .clk_i,
      .write_i(plane_write),
      .write_address_i(plane_write_address[PlaneAddressBits-1:0]),
      .data_i(plane_write_data),
      .read_i(y_read && planes),
      .read_address_i(y_address[PlaneAddressBits-1:0]),
      .data_o(plane_word)
    );
  end else begin : gen_no_planes
    assign plane_word = '0;
  end

endmodule
