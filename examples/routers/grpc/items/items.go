// Package items is what a compiler of protocol buffers would make of a service Items
// with a method Get and a stream Watch.
package items

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods of Items.
const (
	Get   = "/demo.Items/Get"
	Watch = "/demo.Items/Watch"
)

// A Server implements Items.
type Server interface {
	Get(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
	Watch(id *wrapperspb.StringValue, stream grpc.ServerStream) error
}

// Register registers impl with server.
func Register(server *grpc.Server, impl Server) {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "demo.Items", HandlerType: (*Server)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Get", Handler: get}},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", Handler: watch, ServerStreams: true}},
	}, impl)
}

func get(impl any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	id := new(wrapperspb.StringValue)
	if err := decode(id); err != nil {
		return nil, err
	}
	handler := func(ctx context.Context, id any) (any, error) {
		return impl.(Server).Get(ctx, id.(*wrapperspb.StringValue))
	}
	if interceptor == nil {
		return handler(ctx, id)
	}
	return interceptor(ctx, id, &grpc.UnaryServerInfo{Server: impl, FullMethod: Get}, handler)
}

func watch(impl any, stream grpc.ServerStream) error {
	id := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(id); err != nil {
		return err
	}
	return impl.(Server).Watch(id, stream)
}
