public import HTTPServer
public import JSON

extension Request {
    /// Reads the body as an object with exactly the members that `body` asks for.
    ///
    /// - Throws: `JSONError` when it is not JSON, `JSONFieldErrors` naming every fault.
    public func read<Value>(_ body: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(try JSON(parsing: self.body), body)
    }

    /// The same, where no body means an empty object.
    public func readOptional<Value>(_ body: (inout JSONFields) -> Value) throws -> Value {
        try JSONFields.read(self.body.isEmpty ? [:] : try JSON(parsing: self.body), body)
    }
}
