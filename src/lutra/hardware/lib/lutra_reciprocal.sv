// (2**31 - 1) / divisor_i, rounded down: restoring division, one bit of the quotient per stage.
//
// All bits of the dividend are 1, so that a stage needs no register for it. The divisor is at least 2**Skip, and the
// first Skip bits of the dividend give no quotient.
//
// Timing: 31 - Skip enabled cycles; a division starts in every one. tag_i travels along.
module lutra_reciprocal #(
  parameter int unsigned DivisorBits = 28,  // bits of the divisor, up to 31
  parameter int unsigned Skip = 4,          // the divisor is at least 2**Skip; from 1
  parameter int unsigned TagBits = 1        // bits that travel along
) (
  input  logic                   clk_i,       // clock
  input  logic                   enable_i,    // go on
  input  logic [DivisorBits-1:0] divisor_i,   // divisor
  input  logic [TagBits-1:0]     tag_i,       // whatever belongs to it
  output logic [30-Skip:0]       quotient_o,  // quotient
  output logic [TagBits-1:0]     tag_o        // tag_i of this quotient
);

  if (Skip < 1 || Skip >= DivisorBits || DivisorBits > 31 || TagBits < 1) begin : gen_wrong
    $error("Skip must be from 1 and below DivisorBits, this at most 31, and TagBits at least 1");
  end

  localparam int unsigned Steps = 31 - Skip;

  for (genvar i = 1; i <= Steps; i++) begin : gen_step
    // The remainder is below the divisor, and below the part of the dividend that has been used.
    localparam int unsigned BeforeBits = Skip + i - 1 < DivisorBits ? Skip + i - 1 : DivisorBits;
    localparam int unsigned AfterBits = Skip + i < DivisorBits ? Skip + i : DivisorBits;
    logic [BeforeBits-1:0]  carried;
    logic [DivisorBits-1:0] divisor, divisor_q;
    logic [TagBits-1:0]     tag, tag_q;
    logic [DivisorBits:0]   trial;
    logic [DivisorBits+1:0] difference;
    logic                   fits;
    logic [AfterBits-1:0]   remainder_q;
    logic [i-1:0]           quotient, quotient_q;

    if (i == 1) begin : gen_first
      assign carried  = '1;
      assign divisor  = divisor_i;
      assign tag      = tag_i;
      assign quotient = fits;
    end else begin : gen_next
      assign carried  = gen_step[i-1].remainder_q;
      assign divisor  = gen_step[i-1].divisor_q;
      assign tag      = gen_step[i-1].tag_q;
      assign quotient = {gen_step[i-1].quotient_q, fits};
    end

    assign trial      = (DivisorBits+1)'({carried, 1'b1});
    assign difference = {1'b0, trial} - {2'b0, divisor};
    assign fits       = !difference[DivisorBits+1];

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        remainder_q <= fits ? difference[AfterBits-1:0] : trial[AfterBits-1:0];
        divisor_q   <= divisor;
        tag_q       <= tag;
        quotient_q  <= quotient;
      end
    end
  end

  assign quotient_o = gen_step[Steps].quotient_q;
  assign tag_o      = gen_step[Steps].tag_q;

  logic unused_last_step;
  assign unused_last_step = ^{gen_step[Steps].remainder_q, gen_step[Steps].divisor_q};

endmodule
