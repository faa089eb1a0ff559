;; A filter that holds every request and takes 64 MiB more on each tick. Refused, it ends as Rust's allocator does.
(module
  (memory (export "memory") 1024)
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "proxy_on_delete") (param i32))
  (func (export "proxy_on_tick") (param i32)
    (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then (unreachable)))))
