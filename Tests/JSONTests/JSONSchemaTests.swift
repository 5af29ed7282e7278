import JSON
import Testing

@Suite("JSONSchemaTests")
struct JSONSchemaTests {
    private enum Kind: String, CaseIterable { case big, small }

    @Test("what is published about a request is what its reader asks for")
    func wholeObject() {
        let schema = JSONFields.schema { fields in
            let code = fields.code("code")
            let title = fields.optionalString("title", length: 1...200, pattern: .singleLine)
            let place = fields.object("place") { place in
                (place.double("x", in: 0...1), place.optionalInt("n", in: 1...3))
            }
            let kinds = fields.optionalChoice("kind", of: Kind.self)
            let ids = fields.uuids("ids", count: 1...100)
            let items = fields.optionalArray("items", count: 0...5) { $0.bool("flag") }
            return (code, title, place, kinds, ids, items)
        }
        #expect(
            schema == [
                "type": "object", "additionalProperties": false,
                "required": ["code", "place", "ids"],
                "properties": [
                    "code": ["type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,62}$"],
                    "title": [
                        "type": ["string", "null"], "minLength": 1, "maxLength": 200,
                        "pattern": #"^[^\u0000-\u001f\u007f-\u009f]*$"#,
                    ],
                    "place": [
                        "type": "object", "additionalProperties": false, "required": ["x"],
                        "properties": [
                            "x": ["type": "number", "minimum": 0.0, "maximum": 1.0],
                            "n": ["type": ["integer", "null"], "minimum": 1, "maximum": 3],
                        ],
                    ],
                    "kind": ["type": ["string", "null"], "enum": ["big", "small", nil]],
                    "ids": [
                        "type": "array", "minItems": 1, "maxItems": 100,
                        "items": ["type": "string", "format": "uuid"],
                    ],
                    "items": [
                        "type": ["array", "null"], "maxItems": 5,
                        "items": [
                            "type": "object", "additionalProperties": false, "required": ["flag"],
                            "properties": ["flag": ["type": "boolean"]],
                        ],
                    ],
                ],
            ]
        )
    }

    @Test("what a reader says of several members is no part of it, and stops nothing")
    func faults() {
        let schema = JSONFields.schema { fields in
            let (one, other) = (fields.optionalBool("one"), fields.optionalBool("other"))
            if one == nil, other == nil { fields.fault("one", "or the other is needed") }
        }
        #expect(schema["required"] == nil)
        #expect(schema["properties"]?.objectValue?.count == 2)
    }
}
