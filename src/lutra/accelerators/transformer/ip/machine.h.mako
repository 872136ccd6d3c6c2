<% N = core.name.upper() %>\
/* Registers of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}. README.md says how to use them. */
#ifndef ${N}_H
#define ${N}_H

#define ${N}_BUILD_HASH "${build_hash}"
#define ${N}_LONGEST ${core.rows}u        /* of the longest sequence */
#define ${N}_SIZE ${core.config.size}u          /* rows and columns of the array */
#define ${N}_LOGITS ${core.logit_columns}u        /* of a row */
#define ${N}_LOGIT_COLUMNS ${core.logits.column_tiles * core.config.size}u /* of a row, with padding */
#define ${N}_RIGHT_IMAGE_SUM 0x${f"{image_sum:08x}"}u

<%include file="registers.h.mako"/>

#endif
