//! Functions of text and bytea.
//!
//! A subject of its own, so that the tables can be read side by side with the manual.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f ascii text int4 pg_ascii({0})
f bit_count bytea int8 -
f bit_length bytea int4 pg_int4(octet_length({0}) * 8)
f bit_length text int4 pg_int4(octet_length({0}) * 8)
f btrim bytea,bytea bytea -
f btrim text text trim({0}, ' ')
f btrim text,text text trim({0}, {1})
f char_length bpchar int4 length(rtrim({0}, ' '))
f char_length text int4 length({0})
f character_length bpchar int4 length(rtrim({0}, ' '))
f character_length text int4 length({0})
f concat_ws text,...any text pg_concat_ws({0}, {out *})
f convert bytea,name,name bytea -
f convert_from bytea,name text pg_convert_from({0}, {1})
f convert_to text,name bytea pg_convert_to({0}, {1})
f decode text,text bytea pg_decode({0}, {1})
f encode bytea,text text pg_encode({0}, {1})
f format text text pg_format({0})
f format text,...any text pg_format({0}, {out *})
f get_bit bytea,int8 int4 -
f get_byte bytea,int4 int4 pg_get_byte({0}, {1})
f has_table_privilege oid,oid,text bool -
f has_table_privilege oid,text,text bool -
f initcap text text pg_initcap({0})
f is_normalized text,text? bool -
f left text,int4 text pg_left({0}, {1})
f length bpchar int4 length(rtrim({0}, ' '))
f length bytea int4 octet_length({0})
f length bytea,name int4 -
f length text int4 length({0})
f like bytea,bytea bool -
f like name,text bool -
f like text,text bool pg_like({0}, {1})
f lower text text lower({0})
f lpad text,int4 text pg_lpad({0}, {1}, ' ')
f lpad text,int4,text text pg_lpad({0}, {1}, {2})
f ltrim bytea,bytea bytea -
f ltrim text text ltrim({0}, ' ')
f ltrim text,text text ltrim({0}, {1})
f md5 bytea text pg_md5({0})
f md5 text text pg_md5({0})
f normalize text,text? text -
f notlike bytea,bytea bool -
f notlike name,text bool -
f notlike text,text bool (NOT pg_like({0}, {1}))
f octet_length bpchar int4 octet_length({0})
f octet_length bytea int4 octet_length({0})
f octet_length text int4 octet_length({0})
f overlay bytea,bytea,int4 bytea -
f overlay bytea,bytea,int4,int4 bytea -
f overlay text,text,int4 text pg_overlay({0}, {1}, {2}, length({1}))
f overlay text,text,int4,int4 text pg_overlay({0}, {1}, {2}, {3})
f parse_ident text,bool? _text -
f position bytea,bytea int4 pg_bytea_position({1}, {0})
f position text,text int4 instr({0}, {1})
f quote_ident text text pg_quote_ident({0})
f quote_literal text text pg_quote_literal({0})
f quote_nullable text text pg_quote_nullable({0})
f regexp_count text,text int4 -
f regexp_count text,text,int4 int4 -
f regexp_count text,text,int4,text int4 -
f regexp_instr text,text int4 -
f regexp_instr text,text,int4 int4 -
f regexp_instr text,text,int4,int4 int4 -
f regexp_instr text,text,int4,int4,int4 int4 -
f regexp_instr text,text,int4,int4,int4,text int4 -
f regexp_instr text,text,int4,int4,int4,text,int4 int4 -
f regexp_like text,text bool pg_regexp_like({0}, {1}, '')
f regexp_like text,text,text bool pg_regexp_like({0}, {1}, {2})
f regexp_match text,text _text pg_regexp_match({0}, {1}, '')
f regexp_match text,text,text _text pg_regexp_match({0}, {1}, {2})
f regexp_replace text,text,text text pg_regexp_replace({0}, {1}, {2}, '')
f regexp_replace text,text,text,int4 text -
f regexp_replace text,text,text,int4,int4 text -
f regexp_replace text,text,text,int4,int4,text text -
f regexp_replace text,text,text,text text pg_regexp_replace({0}, {1}, {2}, {3})
f regexp_split_to_array text,text _text pg_regexp_split({0}, {1}, '')
f regexp_split_to_array text,text,text _text pg_regexp_split({0}, {1}, {2})
f regexp_substr text,text text -
f regexp_substr text,text,int4 text -
f regexp_substr text,text,int4,int4 text -
f regexp_substr text,text,int4,int4,text text -
f regexp_substr text,text,int4,int4,text,int4 text -
f repeat text,int4 text pg_repeat({0}, {1})
f replace text,text,text text replace({0}, {1}, {2})
f reverse text text pg_reverse({0})
f right text,int4 text pg_right({0}, {1})
f row_security_active text bool -
f rpad text,int4 text pg_rpad({0}, {1}, ' ')
f rpad text,int4,text text pg_rpad({0}, {1}, {2})
f rtrim bytea,bytea bytea -
f rtrim text text rtrim({0}, ' ')
f rtrim text,text text rtrim({0}, {1})
f set_bit bytea,int8,int4 bytea -
f set_byte bytea,int4,int4 bytea -
f set_config text,text,bool text -
f sha224 bytea bytea -
f sha256 bytea bytea pg_sha256({0})
f sha384 bytea bytea -
f sha512 bytea bytea -
f split_part text,text,int4 text pg_split_part({0}, {1}, {2})
f starts_with text,text bool pg_starts_with({0}, {1})
f string_to_array text,text _text pg_string_to_array({0}, {1}, NULL)
f string_to_array text,text,text _text pg_string_to_array({0}, {1}, {2})
f strpos text,text int4 instr({0}, {1})
f substr bytea,int4 bytea pg_bytea_substring({0}, {1})
f substr bytea,int4,int4 bytea pg_bytea_substring({0}, {1}, {2})
f substr text,int4 text pg_substring({0}, {1})
f substr text,int4,int4 text pg_substring({0}, {1}, {2})
f substring bytea,int4 bytea pg_bytea_substring({0}, {1})
f substring bytea,int4,int4 bytea pg_bytea_substring({0}, {1}, {2})
f substring text,int4 text pg_substring({0}, {1})
f substring text,int4,int4 text pg_substring({0}, {1}, {2})
f substring text,text text pg_substring_regex({0}, {1})
f substring text,text,text text -
f to_ascii text text -
f to_ascii text,int4 text -
f to_ascii text,name text -
f to_char float4,text text -
f to_char int4,text text pg_to_char_numeric(CAST({0} AS TEXT), {1})
f to_char int8,text text pg_to_char_numeric(CAST({0} AS TEXT), {1})
f to_number text,text numeric -
f translate text,text,text text pg_translate({0}, {1}, {2})
f unistr text text -
f upper text text upper({0})
s regexp_matches text,text _text -
s regexp_matches text,text,text _text -
";
