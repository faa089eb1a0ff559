;; The least that a filter can do for a miss: it asks for the request's headers, holds the request until its body is there, and lets
;; it go on.
(module
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32) (param $ends i32) (result i32)
    (drop (call $headers (i32.const 0) (i32.const 0) (i32.const 4)))
    (i32.eqz (local.get $ends)))
  (func (export "proxy_on_request_body") (param i32 i32) (param $ends i32) (result i32)
    (i32.eqz (local.get $ends))))
