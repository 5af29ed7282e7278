internal import FoundationEssentials
internal import JSON

/// A room is a conversation by another name: who says `room_id` means `conversation_id`.
extension JSONFields {
    /// The conversation that is meant; naming it twice is a fault.
    mutating func conversation() -> UUID { uuid(conversationName) }

    /// The conversation that is meant, if one is named.
    mutating func optionalConversation() -> UUID? { optionalUUID(conversationName) }

    private var conversationName: String {
        has("room_id") && !has("conversation_id") ? "room_id" : "conversation_id"
    }
}
