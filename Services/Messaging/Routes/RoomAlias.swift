internal import FoundationEssentials
internal import JSON

/// A room is a conversation by another name: who says `room_id` means `conversation_id`.
extension JSONFields {
    /// The conversation that is meant; naming it twice is a fault.
    mutating func conversation() -> UUID { uuid(conversationName) }

    /// The conversation that is meant, if one is named.
    mutating func optionalConversation() -> UUID? {
        let conversation = optionalUUID("conversation_id")
        let room = optionalUUID("room_id")
        if has("conversation_id"), has("room_id") {
            fault("room_id", "is conversation_id by another name: one of the two may be given")
        }
        return conversation ?? room
    }

    private var conversationName: String {
        has("room_id") && !has("conversation_id") ? "room_id" : "conversation_id"
    }
}
