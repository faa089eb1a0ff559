;; The least that a filter can do for a hit: it asks for the request's headers, and answers with bytes that it has. ANSWER is put in
;; as the file's bytes, BYTES as their number.
(module
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  ;; One header: their count, the lengths of a name and its value, and both with a zero behind each.
  (data (i32.const 16) "\01\00\00\00\0c\00\00\00\10\00\00\00content-type\00application/json\00")
  ;; What the proxy writes the request's headers to begins at 1,024 and may be 63 KiB; the answer lies behind it.
  (data (i32.const 65536) "ANSWER")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $headers (i32.const 0) (i32.const 0) (i32.const 4)))
    (drop (call $send (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const BYTES)
      (i32.const 16) (i32.const 42) (i32.const -1)))
    (i32.const 1)))
